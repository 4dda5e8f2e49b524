import js from '@eslint/js'
import ts from 'typescript-eslint'

const TESTS = ['**/*.test.ts', 'test/**', '**/*.model.ts']

const defaultExport = {
  selector: 'ExportDefaultDeclaration',
  message: 'Export by name: a name can be searched for.',
}
// Time and randomness are arguments, so that a replay of the same capture is the same replay.
const clocks = ['Date.now', 'Math.random', 'performance.now'].map(name => {
  const [object, property] = name.split('.')
  return {
    selector: `MemberExpression[object.name='${object}'][property.name='${property}']`,
    message: `${name} is not for this room: time and randomness are arguments.`,
  }
})
// What allocates for each packet (see "Hot path" in ARCHITECTURE.md).
const allocations = [
  { selector: "MemberExpression[property.name='subarray']", message: 'subarray allocates: pass an offset and an end.' },
  { selector: 'YieldExpression', message: 'A generator allocates: move a cursor.' },
  { selector: 'Literal[bigint]', message: 'BigInt allocates: use int32 words.' },
  { selector: "Identifier[name='BigInt']", message: 'BigInt allocates: use int32 words.' },
  { selector: 'TemplateLiteral', message: 'Texts are made by those who print.' },
]

export default ts.config(
  { ignores: ['build/', 'dist/', 'node_modules/', 'native-bench/baseline/', '.bench/'] },
  js.configs.recommended,
  ts.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      'prefer-const': 'error',
      'no-restricted-syntax': ['error', defaultExport],
      'max-len': ['error', { code: 132 }],
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
  {
    files: ['src/{base,storage,channel,policy}/**/*.ts'],
    ignores: TESTS,
    rules: { 'no-restricted-syntax': ['error', defaultExport, ...clocks] },
  },
  {
    files: ['src/{wire,engine,plane}/**/*.ts'],
    ignores: TESTS,
    rules: { 'no-restricted-syntax': ['error', defaultExport, ...clocks, ...allocations] },
  },
  { files: TESTS, rules: { 'max-len': 'off' } },
  {
    files: ['**/*.js', '**/*.cjs'],
    languageOptions: {
      globals: Object.fromEntries(
        ['process', 'console', 'setTimeout', 'clearTimeout', 'setImmediate', 'URL', 'module']
          .map(name => [name, 'readonly'])),
    },
  },
  // A tool looks for the default export of its own configuration.
  { files: ['eslint.config.js', 'scripts/reporter.js'], rules: { 'no-restricted-syntax': 'off' } },
)
