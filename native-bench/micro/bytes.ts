/** Work on the bytes of packets: checksums and the first look. */
import { createCounters } from '../../src/channel/counters.ts'
import { apply, delta32 } from '../../src/wire/checksum.ts'
import { createFrames, LINK_ETHERNET, NET_IPV4 } from '../../src/wire/frames.ts'
import * as ipv4 from '../../src/wire/ipv4.ts'
import { createLink } from '../../src/wire/link.ts'
import { createLook } from '../../src/engine/look.ts'
import { createFlows } from '../../src/engine/flows.ts'
import { createPool } from '../../src/engine/pool.ts'
import { createRows, PATH_4 } from '../../src/engine/rows.ts'
import { engineOptions } from '../../src/app/compose.ts'
import { benchConfig } from '../replay/machine.ts'
import { FIRST_POOL_ADDRESS, makeFlows, putFrame } from '../traffic.ts'
import { OPERATIONS, type Task } from './task.ts'

const FRAME_BYTES = 60, STRIDE = 64

/** A batch of frames from inside, located. */
function frames() {
  const all = createFrames({ capacity: OPERATIONS, poolBytes: OPERATIONS * STRIDE })
  const bytes = Buffer.from(all.pool.buffer)
  const set = makeFlows(OPERATIONS, 1)
  for (let i = 0; i < OPERATIONS; i++) {
    putFrame(bytes, i * STRIDE, FRAME_BYTES, set.protocol[i], set.inside[i], set.insidePort[i], set.peer[i], set.peerPort[i], 16)
    all.off[i] = i * STRIDE
    all.capBytes[i] = all.wireBytes[i] = FRAME_BYTES
    all.link[i] = LINK_ETHERNET
  }
  const link = createLink(all)
  link.locate(OPERATIONS)
  return { all, link }
}

/** RFC 1624: another source address in the checksum of a header. */
export function updateChecksum(): Task {
  const { all: { view, l3 } } = frames()
  let other = 0x0a000001
  return {
    run() {
      other = other + 1 | 0
      for (let i = 0; i < OPERATIONS; i++) {
        const p = l3[i], was = ipv4.src(view, p)
        ipv4.setSrc(view, p, other)
        ipv4.setChecksum(view, p, apply(ipv4.checksum(view, p), delta32(was, other)))
      }
    },
    isRight: () => isSumRight(view, l3[0]) && isSumRight(view, l3[OPERATIONS - 1]),
  }
}

function isSumRight(view: DataView, p: number): boolean {
  let sum = ipv4.headerSum(view, p)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  return sum === 0xffff
}

export function headerChecksum(): Task {
  const { all: { view, l3 } } = frames()
  let wrong = 0
  return {
    run() {
      for (let i = 0; i < OPERATIONS; i++) if (!isSumRight(view, l3[i])) wrong++
    },
    isRight: () => wrong === 0,
  }
}

export function locate(): Task {
  const { all: { net }, link } = frames()
  return { run: () => link.locate(OPERATIONS), isRight: () => net.every(what => what === NET_IPV4) }
}

/** Every check of a packet and its hash; the table is empty. */
export function look(): Task {
  const { all } = frames()
  const config = benchConfig({ flows: 16_384, poolFirst: FIRST_POOL_ADDRESS, poolSize: 4 })
  const options = engineOptions(config, config.inside, 1, 0)
  const counters = createCounters(), pool = createPool(options.pool, 1), rows = createRows(OPERATIONS)
  const flows = createFlows(options, pool, counters)
  const { lookAhead } = createLook({ options, frames: all, counters, rows, pool, flows, npt6: null, share: null })
  return { run: () => lookAhead(OPERATIONS), isRight: () => rows.path.every(path => path === PATH_4) }
}
