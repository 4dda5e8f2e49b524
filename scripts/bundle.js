/** Bundles the command line into dist/pinhole.js. Dependencies stay outside: npm installs them beside it. */
import { chmodSync } from 'node:fs'
import { build } from 'esbuild'

const outfile = 'dist/pinhole.js'
await build({
  entryPoints: ['src/app/cli/main.ts'],
  outfile,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  sourcemap: true,
  logLevel: 'warning',
})
chmodSync(outfile, 0o755)
