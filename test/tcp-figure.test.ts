/**
 * The machine of RFC 7857 figure 1, drawn from the figure and not from our table, against the engine: random segments and pauses, and
 * after each the question whether the connection is still known. It judges connections that begin with the SYN of a client.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { A, ACK, FIN, NAT, PSH, RST, SYN, X, box, tcp } from './conformance/box.ts'

const TRANS_MS = 240_000, EST_MS = 7_440_000
const SEED = Number(process.env['PINHOLE_SEED'] ?? Date.now() % 2 ** 31)

type State = 'CLOSED' | 'INIT' | 'ESTABLISHED' | 'TRANS' | 'C FIN RCV' | 'S FIN RCV' | 'C FIN + S FIN RCV'
type Kind = 'SYN' | 'FIN' | 'RST' | 'data'
interface Segment { client: boolean; kind: Kind; pauseMs: number }

/**
 * The figure has no arrow for most segments: they stay. Its words for data are the arrow from TRANS; RFC 6146 3.5.2.2, of which it is
 * adapted, says that any packet but an RST takes it, and that both states of one FIN live by the longer time. Timers are of idleness
 * (RFC 7857 2.1): each packet starts them again, but for an RST of a connection that is over or reset.
 */
class Figure {
  state: State = 'CLOSED'
  deadline = 0

  step({ client, kind }: Segment, nowMs: number): void {
    const { state } = this
    if (state === 'INIT' && !client && kind === 'SYN') this.enter('ESTABLISHED', nowMs)
    else if (state === 'ESTABLISHED' && kind === 'FIN') this.enter(client ? 'C FIN RCV' : 'S FIN RCV', nowMs)
    else if (state === 'ESTABLISHED' && kind === 'RST') this.enter('TRANS', nowMs)
    else if (state === 'C FIN RCV' && !client && kind === 'FIN') this.enter('C FIN + S FIN RCV', nowMs)
    else if (state === 'S FIN RCV' && client && kind === 'FIN') this.enter('C FIN + S FIN RCV', nowMs)
    else if (state === 'TRANS' && kind !== 'RST') this.enter('ESTABLISHED', nowMs)
    else if (state !== 'TRANS' && !(state === 'C FIN + S FIN RCV' && kind === 'RST')) this.enter(state, nowMs)
  }

  enter(state: State, nowMs: number): void {
    this.state = state
    const isLong = state === 'ESTABLISHED' || state === 'C FIN RCV' || state === 'S FIN RCV'
    this.deadline = nowMs + (isLong ? EST_MS : TRANS_MS)
  }

  /** TCP_EST T.O. leads to TRANS in the figure, for a probe that we do not send: it ends the connection here, as TCP_TRANS T.O. does. */
  expire(nowMs: number): void {
    if (this.state !== 'CLOSED' && nowMs >= this.deadline) this.state = 'CLOSED'
  }
}

const FLAGS = { SYN, FIN: FIN | ACK, RST, data: ACK | PSH }
const PAUSES = [0, 1, 1000, TRANS_MS - 1, TRANS_MS, TRANS_MS + 1, EST_MS - 1, EST_MS, EST_MS + 1]

/** Segments that the figure and RFC 6146 speak of in that state; the rest is ours to decide (docs/behaviour.md, Timers). */
function isDrawn(state: State, { client, kind }: Segment): boolean {
  switch (state) {
    case 'CLOSED': return false
    // A refused connection, and one whose client goes on without an answer, are not in it.
    case 'INIT': return kind === 'SYN'
    // A new SYN begins anew, before the old connection is over (RFC 1122 4.2.2.13), or after a reset.
    case 'C FIN + S FIN RCV': case 'TRANS': return kind !== 'SYN'
    case 'C FIN RCV': return kind !== 'RST' && !(kind === 'SYN' && !client)
    case 'S FIN RCV': return kind !== 'RST' && !(kind === 'SYN' && client)
    case 'ESTABLISHED': return true
  }
}

const segment = fc.record({
  client: fc.boolean(), kind: fc.constantFrom<Kind>('SYN', 'SYN', 'FIN', 'FIN', 'RST', 'data', 'data'),
  pauseMs: fc.oneof({ weight: 2, arbitrary: fc.constant(10) }, fc.constantFrom(...PAUSES)),
})

// @req RFC7857 2
test(`a connection lives as the figure of RFC 7857 2 draws it (seed ${SEED})`, () => {
  const seen = new Set<State>()
  fc.assert(fc.property(fc.array(segment, { minLength: 1, maxLength: 20, size: 'max' }), (segments) => {
    const b = box(), figure = new Figure()
    const send = (client: boolean, kind: Kind) => {
      // A server answers a SYN by one with ACK; numbers are not looked at here.
      const flags = kind === 'SYN' && !client ? SYN | ACK : FLAGS[kind]
      return client ? b.in(tcp(A, 5000, X, 80, flags)) : b.out(tcp(X, 80, NAT, 5000, flags))
    }
    send(true, 'SYN')
    figure.enter('INIT', 0)
    for (const one of segments) {
      b.nowMs += one.pauseMs
      b.engine.expire(b.nowMs)
      figure.expire(b.nowMs)
      seen.add(figure.state)
      assert.equal(b.count('flows-current'), figure.state === 'CLOSED' ? 0 : 1, `${figure.state} at ${b.nowMs}`)
      if (!isDrawn(figure.state, one)) continue
      assert.equal(send(one.client, one.kind).reason, null)
      figure.step(one, b.nowMs)
    }
    for (const late of [-1, 0]) {
      b.engine.expire(Math.max(b.nowMs, figure.deadline + late))
      figure.expire(Math.max(b.nowMs, figure.deadline + late))
      assert.equal(b.count('flows-current'), figure.state === 'CLOSED' ? 0 : 1, `${figure.state}, ${late} ms from its end`)
    }
  }), { seed: SEED, numRuns: 2000 })
  assert.equal(seen.size, 7, `states reached: ${[...seen].join(', ')}`)
})
