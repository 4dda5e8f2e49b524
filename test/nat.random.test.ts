/**
 * The engine against its slow model, on random traffic and random commands: every byte, every verdict, every reason, in the
 * same order, and what each rule counts. Batches also prove that looking ahead never changes a result, and that commands in
 * the middle of one are carried out between packets. PINHOLE_RUNS soaks.
 */
import test from 'node:test'
import fc from 'fast-check'
import { compare, survive } from './model/compare.ts'
import { hold } from './model/hold.ts'
import { firewalledOptions, firewalledSteps, modelOptions, ruledOptions, ruledSteps, steps } from './model/traffic.ts'

const RUNS = Number(process.env['PINHOLE_RUNS'] ?? 1500)
/** Boxes with rules do more for a run. */
const RULED_RUNS = Math.ceil(RUNS * 0.8)
const starts = fc.constantFrom(0, 0, 0x7fffff00, 0x7fffffff, -50, -(2 ** 31))
const links = fc.constantFrom(0, 14, 18), batches = fc.integer({ min: 2, max: 64 }), rows = fc.constantFrom(1, 1, 7, 32)

test('the engine agrees with its model, one packet at a time', () => {
  hold(RUNS, fc.property(modelOptions, steps(60), starts, links, (options, list, startMs, linkBytes) => {
    compare(options, list, startMs, linkBytes, 1)
  }))
})

test('looking ahead over a batch changes nothing', () => {
  hold(RUNS, fc.property(modelOptions, steps(80), starts, batches, (options, list, startMs, batch) => {
    compare(options, list, startMs, 14, batch)
  }))
})

test('the outside world of a replay re-addresses as its model does', () => {
  const [boxes, lists] = [fc.oneof(modelOptions, ruledOptions), fc.oneof(steps(60), ruledSteps(60))]
  hold(RUNS, fc.property(boxes, lists, starts, rows, (options, list, startMs, batch) => {
    compare(options, list, startMs, 14, batch, true)
  }))
})

test('rules and bindings of the engine agree with those of its model, one packet at a time', () => {
  hold(RULED_RUNS, fc.property(ruledOptions, ruledSteps(60), starts, links, (options, list, startMs, linkBytes) => {
    compare(options, list, startMs, linkBytes, 1)
  }))
})

test('commands within a batch act on all packets behind them and on none before', () => {
  hold(RULED_RUNS, fc.property(ruledOptions, ruledSteps(60), starts, batches, (options, list, startMs, batch) => {
    compare(options, list, startMs, 14, batch)
  }))
})

test('firewall rules of the engine agree with those of its model, and so does what a new set ends', () => {
  hold(RULED_RUNS, fc.property(firewalledOptions, firewalledSteps(60), starts, links, (options, list, startMs, linkBytes) => {
    compare(options, list, startMs, linkBytes, 1)
  }))
})

test('a rule set that is replaced within a batch counts for all packets behind it and for none before', () => {
  hold(Math.ceil(RUNS / 3), fc.property(firewalledOptions, firewalledSteps(60), starts, batches, fc.boolean(), (options, list, startMs, batch, replay) => {
    compare(options, list, startMs, 14, batch, replay)
  }))
})

test('packets between the slices of commands lose nothing and leave nothing behind', () => {
  const budgets = fc.integer({ min: 1, max: 9 })
  hold(Math.ceil(RUNS / 5), fc.property(ruledOptions, ruledSteps(60), starts, budgets, (options, list, startMs, budget) => {
    survive(options, list, startMs, budget)
  }))
})
