// What a room may import; everything else is an error, type-only imports too.
const MAY = {
  base: [], storage: ['base'], channel: ['base', 'storage'], wire: ['base'], phy: ['base', 'wire'],
  engine: ['base', 'storage', 'channel', 'wire'], plane: ['base', 'channel', 'wire', 'phy', 'engine'],
  policy: ['base', 'storage', 'channel'], control: ['base', 'storage', 'policy'], app: ['.*'],
}
const SOURCE = { pathNot: '[.](test|bench)[.]ts$' }
const severity = 'error'
module.exports = {
  forbidden: [
    ...Object.entries(MAY).map(([room, may]) => ({
      name: `${room}-imports`, severity,
      from: { path: `^src/${room}/`, ...SOURCE },
      to: { path: '^src/', pathNot: `^src/(${[room, ...may].join('|')})/` },
    })),
    { name: 'strangers', severity, from: { path: '^src/control/([^/]+)/' },
      to: { path: '^src/control/', pathNot: '^src/control/$1/' } },
    { name: 'no-node', severity, from: { path: '^src/(base|storage|channel|wire|engine|plane|policy)/', ...SOURCE },
      to: { dependencyTypes: ['core'] } },
    { name: 'app-is-a-leaf', severity, from: { path: '^src/(?!app/)' }, to: { path: '^src/app/' } },
    { name: 'no-cycles', severity, from: {}, to: { circular: true } },
    { name: 'no-unresolved', severity, from: {}, to: { couldNotResolve: true } },
  ],
  options: { tsPreCompilationDeps: true, tsConfig: { fileName: 'tsconfig.json' }, doNotFollow: { path: 'node_modules' } },
}
