/**
 * Compiles the driver for live interfaces, src/phy/native, into native/packet.node. Linux only. It needs a C compiler and the
 * headers that came with Node; where one is not there it says so and ends well, for everything but live interfaces works without.
 * One command and no downloads: node-gyp would fetch headers from a place of its own.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const source = join(root, 'src/phy/native'), folder = join(root, 'native'), target = join(folder, 'packet.node')

function skip(why) {
  console.error(`pinhole: the driver for live interfaces was not built: ${why}; \`node scripts/native.js\` tries again`)
}

/** Beside the program, as its makers and most packages put them, or where Debian does. */
function headers() {
  const places = [join(dirname(realpathSync(process.execPath)), '../include/node'), '/usr/include/node', '/usr/include/nodejs/src']
  return places.find(place => existsSync(join(place, 'node_api.h')))
}

function build() {
  if (process.platform !== 'linux') return
  if (!existsSync(source)) return skip('its source is not here')
  const parts = readdirSync(source).map(name => join(source, name))
  const latestMs = Math.max(...parts.map(part => statSync(part).mtimeMs))
  if (existsSync(target) && statSync(target).mtimeMs >= latestMs) return
  const include = headers()
  if (include === undefined) return skip('the headers of Node are not here (Debian: libnode-dev)')
  mkdirSync(folder, { recursive: true })
  // Whoever has loaded the old one keeps it.
  const fresh = join(folder, `packet.${process.pid}.node`)
  const flags = ['-O2', '-std=gnu11', '-Wall', '-Wextra', '-fPIC', '-shared', '-fvisibility=hidden']
  const args = [...flags, `-I${include}`, '-o', fresh, ...parts.filter(part => part.endsWith('.c'))]
  const { status, error, stderr } = spawnSync(process.env.CC ?? 'cc', args, { encoding: 'utf8' })
  if (status === 0) renameSync(fresh, target)
  else {
    rmSync(fresh, { force: true })
    skip(error === undefined ? `the compiler failed:\n${stderr.trim()}\n` : `no C compiler (${error.message})`)
  }
}

build()
