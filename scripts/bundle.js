/**
 * Bundles the command line into dist/pinhole.js, and in the same way the processes that the benchmark measures, so that it
 * measures what is shipped. Dependencies stay outside: npm installs them beside it.
 */
import { chmodSync } from 'node:fs'
import { build } from 'esbuild'

const outfile = 'dist/pinhole.js'
const options = {
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  packages: 'external',
  // Puts the values of constants from other modules where they are used; without it they are variables of the bundle.
  minifySyntax: true,
  sourcemap: true,
  logLevel: 'warning',
}
await build({ ...options, entryPoints: ['src/app/cli/main.ts'], outfile })
await build({
  ...options,
  entryPoints: ['native-bench/replay/engine-child.ts', 'native-bench/micro/micro-child.ts'],
  outdir: 'build/bench',
  outbase: 'native-bench',
})
chmodSync(outfile, 0o755)
