import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { mock, test, type TestContext } from 'node:test'
import { Failure } from '../cli/status.ts'
import { createKeeper, ENDS_MOST, ENDS_MS, LOOKS_MOST, LOOK_MS, READY_MS, STOP_MS } from './keeper.ts'
import type { FromWorker, ToWorker } from './messages.ts'

const WORKERS = 2

/** A process that does what the test says. */
class Process extends EventEmitter {
  connected = true
  pid: number | undefined
  readonly worker: number
  readonly told: ToWorker['kind'][] = []
  readonly killed: string[] = []
  /** Ends by a signal, as most do. */
  isMortal = true
  constructor(worker: number, pid: number | undefined) {
    super()
    this.worker = worker
    this.pid = pid
  }
  send(message: ToWorker): boolean {
    this.told.push(message.kind)
    return true
  }
  kill(signal: string): boolean {
    this.killed.push(signal)
    if (this.isMortal) this.end(null, signal)
    return true
  }
  says(message: FromWorker): void { this.emit('message', message) }
  end(code: number | null, signal: string | null = null): void {
    this.connected = false
    this.emit('close', code, signal)
  }
}

function setUp(t: TestContext) {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  t.after(() => mock.timers.reset())
  const launched: Process[] = [], log: string[] = [], failures: string[] = [], ends: number[] = [], ruled: number[][] = []
  const signs = Array.from({ length: WORKERS }, () => ({ beats: 0, applied: 0, isBehind: false }))
  let nowMs = 0, cannot = false
  const keeper = createKeeper({
    workers: WORKERS, log: (line) => log.push(line), onFailure: (why) => failures.push(why), nowMs: () => nowMs,
    launch(worker) {
      const one = new Process(worker, cannot ? undefined : 100 + launched.length)
      launched.push(one)
      return one as unknown as ChildProcess
    },
    release(_, child) { child.send({ kind: 'go', standing: new Int32Array(0), zeroMs: 0 }) },
    onEnd(worker) {
      ends.push(worker)
      return 7 + worker
    },
    signs: (worker) => signs[worker]!,
    onRules: (...what) => ruled.push(what),
  })
  /** The process that a worker has now. */
  const of = (worker: number) => launched.findLast((one) => one.worker === worker)!
  const settle = async () => { for (let n = 0; n < 5; n++) await Promise.resolve() }
  /** All are there and forward. */
  async function begin(): Promise<void> {
    const ready = keeper.ready()
    for (const one of launched) one.says({ kind: 'ready' })
    await ready
    const begun = keeper.begin()
    for (const one of launched) one.says({ kind: 'running' })
    await begun
  }
  /** The one that takes its place is there and forwards. */
  async function replaced(worker: number): Promise<void> {
    of(worker).says({ kind: 'ready' })
    await settle()
    of(worker).says({ kind: 'running' })
  }
  /** Seconds in which the workers that `lives` says show it. */
  function pass(looks: number, lives: (worker: number) => boolean): void {
    for (let n = 0; n < looks; n++) {
      for (const [worker, one] of signs.entries()) if (lives(worker)) one.beats++
      mock.timers.tick(LOOK_MS)
      nowMs += LOOK_MS
    }
  }
  return {
    keeper, launched, log, failures, ends, ruled, signs, of, begin, replaced, pass, settle,
    later(ms: number) { nowMs += ms }, failToStart() { cannot = true },
  }
}

const because = (wanted: RegExp) => (error: unknown) => error instanceof Failure && error.status === 70 && wanted.test(error.message)

test('keeper: workers are released when all are there, and the box begins when all forward', async (t) => {
  const { keeper, launched, of, log } = setUp(t)
  let isReady = false, hasBegun = false
  const ready = keeper.ready().then(() => { isReady = true })
  assert.equal(launched.length, WORKERS)
  of(0).says({ kind: 'ready' })
  await Promise.resolve()
  assert.equal(isReady, false)
  of(1).says({ kind: 'ready' })
  await ready
  assert.deepEqual(launched.map(({ told }) => told), [[], []])
  const begun = keeper.begin().then(() => { hasBegun = true })
  assert.deepEqual(launched.map(({ told }) => told), [['go'], ['go']])
  assert.deepEqual(keeper.workers.map(({ isReleased, isRunning }) => [isReleased, isRunning]), [[true, false], [true, false]])
  of(1).says({ kind: 'running' })
  await Promise.resolve()
  assert.equal(hasBegun, false)
  of(0).says({ kind: 'running' })
  await begun
  assert.deepEqual(keeper.workers.map(({ isRunning }) => isRunning), [true, true])
  assert.deepEqual(log, ['worker 1: forwards, process 101', 'worker 0: forwards, process 100'])
})

test('keeper: who ends, is late or cannot be started before it is there ends the start, and the others with it', async (t) => {
  for (const happens of ['ends', 'late', 'absent'] as const) {
    await t.test(happens, async (each) => {
      const { keeper, of, failToStart } = setUp(each)
      if (happens === 'absent') failToStart()
      const ready = keeper.ready()
      of(0).says({ kind: 'ready' })
      if (happens === 'ends') of(1).end(3)
      else if (happens === 'late') mock.timers.tick(READY_MS)
      else of(1).emit('error', new Error('spawn EAGAIN'))
      await assert.rejects(ready, because({ ends: /worker 1 ended \(3\) before it was there/, late: /worker 1 ended \(SIGKILL\)/, absent: /spawn EAGAIN/ }[happens]))
      assert.deepEqual(of(0).killed, ['SIGKILL'])
    })
  }
})

test('keeper: who ends between being there and forwarding, or does not come to that, ends the start', async (t) => {
  for (const happens of ['ended', 'ends', 'late'] as const) {
    await t.test(happens, async (each) => {
      const { keeper, launched, of } = setUp(each)
      const ready = keeper.ready()
      for (const one of launched) one.says({ kind: 'ready' })
      await ready
      if (happens === 'ended') {
        of(1).end(null, 'SIGSEGV')
        // Whoever ends after that is not why.
        of(0).end(4)
      }
      const begun = keeper.begin()
      of(0).says({ kind: 'running' })
      if (happens === 'ends') of(1).end(null, 'SIGSEGV')
      if (happens === 'late') mock.timers.tick(READY_MS)
      await assert.rejects(begun, because(happens === 'late' ? /workers do not forward/ : /worker 1 ended \(SIGSEGV\) before it forwarded/))
      assert.equal(launched.length, WORKERS, 'nobody took its place')
    })
  }
})

test('keeper: who dies is followed by another one, which is released when it is there', async (t) => {
  const { keeper, launched, of, begin, replaced, ends, log } = setUp(t)
  await begin()
  of(1).end(null, 'SIGSEGV')
  assert.deepEqual([launched.length, ends], [3, [1]])
  assert.match(log.at(-1)!, /^worker 1 ended \(SIGSEGV\); its 8 flows are lost, another one takes its place$/)
  assert.deepEqual(keeper.workers.map(({ isReleased, isRunning }) => [isReleased, isRunning]), [[true, true], [false, false]])
  await replaced(1)
  assert.deepEqual(of(1).told, ['go'])
  assert.deepEqual(keeper.workers.map(({ isRunning, restarts, flowsLost }) => [isRunning, restarts, flowsLost]), [[true, 0, 0], [true, 1, 8]])
})

test('keeper: one that takes the place of another and is late, or cannot be started, is followed by one more', async (t) => {
  const { launched, of, begin, pass, failToStart, failures } = setUp(t)
  await begin()
  of(0).end(1)
  pass(READY_MS / LOOK_MS - 1, () => true)
  assert.equal(launched.length, 3)
  pass(1, () => true)
  assert.deepEqual([launched[2]!.killed, launched.length], [['SIGKILL'], 4])
  failToStart()
  of(0).end(1)
  for (let n = launched.length; failures.length === 0; n++) {
    assert.equal(launched.length, n)
    const one = of(0)
    one.emit('error', new Error('spawn EAGAIN'))
    // Node tells of its end as well, and by then there is another one.
    one.end(-11)
  }
  assert.match(failures[0]!, /worker 0 ended \(spawn EAGAIN\) 6 times/)
})

test('keeper: six ends within a minute end the box, and five do not, whoever else ended meanwhile', async (t) => {
  const { of, begin, replaced, later, failures, launched, keeper } = setUp(t)
  await begin()
  for (let n = 1; n < ENDS_MOST; n++) {
    of(0).end(1)
    await replaced(0)
    of(1).end(1)
    await replaced(1)
    later(ENDS_MS / ENDS_MOST)
  }
  // The first one is no longer within the minute.
  later(ENDS_MS / ENDS_MOST)
  of(0).end(1)
  await replaced(0)
  assert.deepEqual(failures, [])
  of(0).end(1)
  assert.match(failures[0]!, /^worker 0 ended \(1\) 6 times within 60 s: the box ends$/)
  const count = launched.length
  of(1).end(1)
  assert.deepEqual([failures.length, launched.length], [1, count])
  keeper.kill()
  assert.deepEqual([keeper.workers[0]!.restarts, keeper.workers[0]!.flowsLost], [ENDS_MOST, 7 * (ENDS_MOST + 1)])
})

test('keeper: who shows no sign of life for ten looks is ended; one that has nothing to do beats, and that is enough', async (t) => {
  const { of, begin, pass, replaced, log } = setUp(t)
  await begin()
  pass(3 * LOOKS_MOST, () => true)
  assert.deepEqual([of(0).killed, of(1).killed], [[], []])
  const hanging = of(1)
  pass(LOOKS_MOST - 1, (worker) => worker === 0)
  assert.deepEqual(hanging.killed, [])
  pass(1, () => true)
  pass(LOOKS_MOST - 1, (worker) => worker === 0)
  assert.deepEqual(hanging.killed, [])
  pass(1, (worker) => worker === 0)
  assert.deepEqual(hanging.killed, ['SIGKILL'])
  assert.match(log.join('\n'), /worker 1 has hung for 10 s: it is ended\nworker 1 ended \(SIGKILL\)/)
  // Of one that is not there yet no sign is wanted; of one that was released it is, even if it never forwarded.
  const next = of(1)
  pass(LOOKS_MOST + 2, (worker) => worker === 0)
  assert.deepEqual(next.killed, [])
  next.says({ kind: 'ready' })
  await Promise.resolve()
  await Promise.resolve()
  pass(LOOKS_MOST - 1, (worker) => worker === 0)
  assert.deepEqual(next.killed, [])
  pass(1, (worker) => worker === 0)
  assert.deepEqual(next.killed, ['SIGKILL'])
  await replaced(1)
})

test('keeper: who has commands and carries none of them out hangs too, however it beats', async (t) => {
  const { of, begin, pass, signs, launched } = setUp(t)
  await begin()
  const one = of(1)
  signs[0]!.isBehind = signs[1]!.isBehind = true
  signs[1]!.applied = 5
  pass(1, () => true)
  for (let n = 0; n < LOOKS_MOST; n++) {
    signs[0]!.applied++
    pass(1, () => true)
  }
  assert.deepEqual([of(0).killed, one.killed, launched.length], [[], ['SIGKILL'], 3])
})

test('keeper: one that hangs and is slow to end is ended again ten looks later, not at each', async (t) => {
  const { of, begin, pass, log } = setUp(t)
  await begin()
  of(1).isMortal = false
  pass(2 * LOOKS_MOST - 1, (worker) => worker === 0)
  assert.deepEqual([of(1).killed, log.filter((line) => line.includes('hung')).length], [['SIGKILL'], 1])
  pass(1, (worker) => worker === 0)
  assert.equal(of(1).killed.length, 2)
})

test('keeper: one that is there only when the box stops, or has failed, is not released', async (t) => {
  const { keeper, of, begin, settle } = setUp(t)
  await begin()
  of(0).end(1)
  const next = of(0)
  void keeper.stop()
  next.says({ kind: 'ready' })
  await settle()
  assert.deepEqual([next.told, keeper.workers[0]!.isReleased], [['stop'], false])
})

test('keeper: a worker that cannot be told anything is ended, once', async (t) => {
  const { of, begin, launched } = setUp(t)
  await begin()
  const one = of(0)
  one.isMortal = false
  one.emit('error', Object.assign(new Error('write EPIPE'), { syscall: 'write' }))
  one.emit('error', Object.assign(new Error('kill EPERM'), { syscall: 'kill' }))
  assert.deepEqual(one.killed, ['SIGKILL'])
  assert.equal(launched.length, WORKERS, 'it has not ended yet')
})

test('keeper: what a worker says reaches the log and whoever waits for rules', async (t) => {
  const { of, begin, log, ruled, keeper } = setUp(t)
  await begin()
  of(1).says({ kind: 'log', line: 'worker 1: hello' })
  of(1).says({ kind: 'rules', id: 3, ended: 12 })
  assert.equal(log.at(-1), 'worker 1: hello')
  assert.deepEqual(ruled, [[1, 3, 12]])
  keeper.send(1, { kind: 'rules', id: 4, rules: [] })
  assert.deepEqual(of(1).told, ['go', 'rules'])
  of(1).connected = false
  keeper.send(1, { kind: 'rules', id: 5, rules: [] })
  assert.equal(of(1).told.length, 2)
})

test('keeper: a box that stops waits for what its workers have to tell, ends those that do not end, and starts none again', async (t) => {
  const { keeper, of, begin, launched, ends } = setUp(t)
  await begin()
  let hasStopped = false
  const stopped = keeper.stop().then(() => { hasStopped = true })
  assert.deepEqual(launched.map(({ told }) => told.at(-1)), ['stop', 'stop'])
  const result = { firewall: null, tableBytes: 5, ruleBytes: 6 }
  of(0).says({ kind: 'stopped', result })
  of(0).end(0)
  mock.timers.tick(STOP_MS - 1)
  assert.deepEqual([of(1).killed, hasStopped], [[], false])
  mock.timers.tick(1)
  await stopped
  assert.deepEqual(of(1).killed, ['SIGKILL'])
  assert.deepEqual(keeper.workers.map((one) => one.result), [result, null])
  assert.deepEqual([launched.length, ends], [WORKERS, []])
})
