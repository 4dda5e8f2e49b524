/**
 * Bundles the command line into dist/pinhole.js and the agent library into dist/agent.js, and in the same way the processes that
 * the benchmark measures, so that it measures what is shipped. Dependencies stay outside: npm installs them beside it.
 *
 * rollup (its WebAssembly build, which needs no binary for each platform) joins the modules, and esbuild takes the types off
 * each. esbuild alone would turn every `const` of a module into a `var`, and then the optimizing compiler has to load each of
 * them, for each packet; a `const` is a constant to it.
 */
import { chmodSync } from 'node:fs'
import { transform } from 'esbuild'
import { rollup } from '@rollup/wasm-node'

const types = {
  name: 'types',
  transform: (code, id) => id.endsWith('.ts')
    ? transform(code, { loader: 'ts', sourcemap: true, sourcefile: id, target: 'node20' }) : null,
}

async function bundle(input, file) {
  const made = await rollup({
    input,
    plugins: [types],
    external: (id) => !/^[./]/.test(id),
    onwarn: (warning) => { throw new Error(warning.message) },
  })
  await made.write({ file, format: 'es', sourcemap: true, generatedCode: 'es2015' })
  await made.close()
}

// `bundle.js bench`: the processes of the benchmark alone, for a revision whose program has been built by its own bundler.
if (process.argv[2] !== 'bench') {
  await bundle('src/app/cli/main.ts', 'dist/pinhole.js')
  await bundle('src/app/run/config-thread.ts', 'dist/config-thread.js')
  await bundle('src/app/run/record-thread.ts', 'dist/record-thread.js')
  await bundle('src/app/workers/worker.ts', 'dist/worker.js')
  chmodSync('dist/pinhole.js', 0o755)
  await bundle('src/control/simco/agent.ts', 'dist/agent.js')
}
await bundle('native-bench/replay/engine-child.ts', 'build/bench/replay/engine-child.js')
await bundle('native-bench/micro/micro-child.ts', 'build/bench/micro/micro-child.js')
await bundle('native-bench/midcom/box-child.ts', 'build/bench/midcom/box-child.js')
