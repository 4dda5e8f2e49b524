/**
 * Hours of virtual time in which flows come and go: does a packet cost as much at the end as at the beginning? Each virtual
 * second opens `rate` flows, half UDP, half TCP. A flow has six packets within ten seconds; TCP ends by FIN from both sides, UDP
 * by its timer. So the table holds some hundred seconds' worth of flows at any time.
 */
import { createPrng } from '../../src/base/prng.ts'
import { FLOW_BITS, OUTSIDE, OUTSIDE_PORTS } from '../../src/engine/flows.ts'
import { FIRST_POOL_ADDRESS, putFrame } from '../traffic.ts'
import { createMachine } from './machine.ts'

const TCP = 6, UDP = 17
const SYN = 2, SYN_ACK = 18, ACK = 16, FIN_ACK = 17
/** Direction and flags of the packets of a flow, and the second of its life in which each comes. */
const LIFE = [
  { second: 0, out: true, flags: SYN }, { second: 0, out: false, flags: SYN_ACK }, { second: 2, out: true, flags: ACK },
  { second: 5, out: false, flags: ACK }, { second: 9, out: true, flags: FIN_ACK }, { second: 9, out: false, flags: FIN_ACK },
]
const LIFE_SECONDS = 10
const BATCH = 256
const FRAME_BYTES = 60

export function churn(hours: number, rate: number, seed: number): object {
  const machine = createMachine({
    flows: 262144, poolFirst: FIRST_POOL_ADDRESS, poolSize: 4, seed, batchFrames: BATCH, frameBytes: 64,
  })
  const { frames, engine, counts } = machine
  const { F, findMapping } = engine.flows
  const { next } = createPrng(seed)
  const bytes = Buffer.from(frames.pool.buffer)
  // Flows of the last ten seconds, by second modulo ten: inside address and port, peer address.
  const inside = new Int32Array(LIFE_SECONDS * rate), port = new Int32Array(inside.length), peer = new Int32Array(inside.length)
  let queued = 0, spent = 0, packets = 0

  function flush(): void {
    spent += machine.run(queued)
    packets += queued
    queued = 0
  }

  function packet(flow: number, out: boolean, flags: number, ns: number): void {
    if (queued === BATCH) flush()
    const protocol = (flow & 1) === 0 ? UDP : TCP
    const i = queued++, at = i * 64
    frames.off[i] = at
    frames.capBytes[i] = frames.wireBytes[i] = FRAME_BYTES
    machine.stamp(i, ns)
    if (out) return putFrame(bytes, at, FRAME_BYTES, protocol, inside[flow], port[flow], peer[flow], 443, flags)
    const base = findMapping(inside[flow], port[flow], 4 << 8 | protocol) << FLOW_BITS
    putFrame(bytes, at, FRAME_BYTES, protocol, peer[flow], 443, F[base + OUTSIDE], F[base + OUTSIDE_PORTS] >>> 16, flags)
  }

  const hourly: { nsPerPacket: number; flows: number; heapBytes: number }[] = []
  for (let hour = 0; hour < hours; hour++) {
    const minutes = new Float64Array(60)
    for (let minute = 0; minute < 60; minute++) {
      spent = packets = 0
      for (let second = 0; second < 60; second++) {
        const now = hour * 3600 + minute * 60 + second
        // Which second of its life each of ten generations is in; the eldest makes way for a new one.
        for (let flow = now % LIFE_SECONDS * rate, n = 0; n < rate; n++, flow++) {
          inside[flow] = 0x0a000000 | next() >>> 12
          port[flow] = 1024 + (next() >>> 8) % 64512
          peer[flow] = 0x2d000000 | next() >>> 8
        }
        for (const { second: age, out, flags } of LIFE) {
          // What a reply is addressed to is known once its flow is open.
          if (queued > 0) flush()
          const generation = (now - age + LIFE_SECONDS) % LIFE_SECONDS
          if (now < age) continue
          for (let n = 0; n < rate; n++) packet(generation * rate + n, out, flags, now * 1e9 + age * 1e8 + n * 1000)
        }
        flush()
      }
      minutes[minute] = spent / packets
    }
    minutes.sort()
    hourly.push({ nsPerPacket: minutes[30], flows: counts().flows.current, heapBytes: process.memoryUsage().heapUsed })
  }
  return { mode: 'churn', hours: hourly, ...counts() }
}
