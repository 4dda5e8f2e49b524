/**
 * The engine against its slow model on random traffic, as in nat.random.test.ts, for boxes whose configuration says more about
 * translation than a pool: with agents and without, and with the outside world of a replay. PINHOLE_RUNS soaks.
 */
import test from 'node:test'
import fc from 'fast-check'
import { compare, survive } from './model/compare.ts'
import { hold } from './model/hold.ts'
import { longSteps, narrowBoxes, natBoxes, ruledNatBoxes, ruledSharedBoxes, ruledSteps, sharedBoxes, steps } from './model/traffic.ts'

const RUNS = Math.ceil(Number(process.env['PINHOLE_RUNS'] ?? 1500) / 6)
const starts = fc.constantFrom(0, 0, 0x7fffff00, -50), batches = fc.constantFrom(1, 1, 7, 40)

test('the engine agrees with its model whatever the configuration fixes', () => {
  hold(RUNS, fc.property(natBoxes, steps(70), starts, batches, (options, list, startMs, batch) => {
    compare(options, list, startMs, 14, batch)
  }))
})

test('the outside world of a replay re-addresses as its model does whatever the configuration fixes', () => {
  hold(RUNS, fc.property(natBoxes, steps(70), starts, batches, (options, list, startMs, batch) => {
    compare(options, list, startMs, 0, batch, true)
  }))
})

test('rules of agents and what the configuration fixes go together', () => {
  hold(RUNS, fc.property(ruledNatBoxes, ruledSteps(60), starts, batches, (options, list, startMs, batch) => {
    compare(options, list, startMs, 14, batch)
  }))
})

test('when all that agents bound is gone, only what the configuration fixes is left', () => {
  hold(Math.ceil(RUNS / 4), fc.property(ruledNatBoxes, ruledSteps(60), starts, fc.integer({ min: 1, max: 9 }), (options, list, startMs, budget) => {
    survive(options, list, startMs, budget)
  }))
})

test('packets leave by narrow links as the model says: cut, refused, with a smaller MSS and their own identification', () => {
  hold(RUNS, fc.property(fc.oneof(narrowBoxes, natBoxes), longSteps(50), starts, batches, (options, list, startMs, batch) => {
    compare(options, list, startMs, 14, batch)
  }))
})

test('what hosts may have, and that no flow is given up for another, is as the model says', () => {
  fc.assert(fc.property(sharedBoxes, steps(70), starts, batches, fc.boolean(), (options, list, startMs, batch, replay) => {
    compare(options, list, startMs, 14, batch, replay)
  }), { numRuns: 2 * RUNS, includeErrorInReport: true })
})

test('rules of agents and what hosts may have go together', () => {
  fc.assert(fc.property(ruledSharedBoxes, ruledSteps(60), starts, batches, (options, list, startMs, batch) => {
    compare(options, list, startMs, 14, batch)
  }), { numRuns: RUNS, includeErrorInReport: true })
})

test('when all flows of limited hosts are gone, hosts have everything again', () => {
  fc.assert(fc.property(ruledSharedBoxes, ruledSteps(60), starts, fc.integer({ min: 1, max: 9 }), (options, list, startMs, budget) => {
    survive(options, list, startMs, budget)
  }), { numRuns: Math.ceil(RUNS / 4), includeErrorInReport: true })
})
