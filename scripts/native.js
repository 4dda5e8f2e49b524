/**
 * Compiles what is in C into native/: the driver for live interfaces, packet.node, and the connections of the SIMCO door,
 * streams.node. Linux only. It needs a C compiler and the headers that came with Node; where one is not there it says so and ends
 * well, for everything but live interfaces works without. One command and no downloads: node-gyp would fetch headers from a place
 * of its own.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
const folder = join(root, 'native')
const ADDONS = [
  { name: 'packet', source: 'src/phy/native', what: 'the driver for live interfaces was not built' },
  { name: 'streams', source: 'src/control/simco/native', what: 'the SIMCO door is slower by a part that was not built' },
]

/** Beside the program, as its makers and most packages put them, or where Debian does. */
function headers() {
  const places = [join(dirname(realpathSync(process.execPath)), '../include/node'), '/usr/include/node', '/usr/include/nodejs/src']
  return places.find(place => existsSync(join(place, 'node_api.h')))
}

function build({ name, source, what }) {
  const skip = why => console.error(`pinhole: ${what}: ${why}; \`node scripts/native.js\` tries again`)
  const target = join(folder, `${name}.node`), sources = join(root, source)
  if (!existsSync(sources)) return skip('its source is not here')
  const parts = readdirSync(sources).map(part => join(sources, part))
  const latestMs = Math.max(...parts.map(part => statSync(part).mtimeMs))
  if (existsSync(target) && statSync(target).mtimeMs >= latestMs) return
  const include = headers()
  if (include === undefined) return skip('the headers of Node are not here (Debian: libnode-dev)')
  mkdirSync(folder, { recursive: true })
  // Whoever has loaded the old one keeps it.
  const fresh = join(folder, `${name}.${process.pid}.node`)
  const flags = ['-O2', '-std=gnu11', '-Wall', '-Wextra', '-fPIC', '-shared', '-fvisibility=hidden']
  const args = [...flags, `-I${include}`, '-o', fresh, ...parts.filter(part => part.endsWith('.c'))]
  const { status, error, stderr } = spawnSync(process.env.CC ?? 'cc', args, { encoding: 'utf8' })
  if (status === 0) renameSync(fresh, target)
  else {
    rmSync(fresh, { force: true })
    skip(error === undefined ? `the compiler failed:\n${stderr.trim()}\n` : `no C compiler (${error.message})`)
  }
}

if (process.platform === 'linux') for (const addon of ADDONS) build(addon)
