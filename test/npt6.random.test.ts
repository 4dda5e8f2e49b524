/**
 * The engine against its slow model on random traffic, as in nat.random.test.ts, for boxes that translate IPv6 prefixes: with
 * agents, firewall rules, narrow links, and the outside world of a replay. PINHOLE_RUNS soaks.
 */
import test from 'node:test'
import fc from 'fast-check'
import { compare } from './model/compare.ts'
import { hold } from './model/hold.ts'
import { npt6Boxes, npt6Steps, ruledNpt6Boxes, ruledNpt6Steps } from './model/traffic.ts'

const RUNS = Math.ceil(Number(process.env['PINHOLE_RUNS'] ?? 1500) / 4)
const starts = fc.constantFrom(0, 0, 0x7fffff00, -50), batches = fc.constantFrom(1, 1, 7, 40)

// @req RFC6296 3.2, 3.3
test('the engine translates prefixes of IPv6 as its model does, packet by packet, errors and fragments too', () => {
  hold(RUNS, fc.property(npt6Boxes, npt6Steps(60), starts, batches, (options, list, startMs, batch) => {
    compare(options, list, startMs, 14, batch)
  }))
})

test('the outside world of a replay sends to the outside prefix as its model does', () => {
  hold(RUNS, fc.property(npt6Boxes, npt6Steps(60), starts, batches, (options, list, startMs, batch) => {
    compare(options, list, startMs, 0, batch, true)
  }))
})

test('rules of agents and firewall rules see inside addresses where prefixes are translated', () => {
  hold(RUNS, fc.property(ruledNpt6Boxes, ruledNpt6Steps(60), starts, batches, (options, list, startMs, batch) => {
    compare(options, list, startMs, 14, batch)
  }))
})
