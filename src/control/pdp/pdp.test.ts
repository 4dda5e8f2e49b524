/** The external decision point against a server on loopback: what it permits, and everything else is a refusal. */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, test } from 'node:test'
import { createCertificates, NO_OPENSSL } from '../../../test/certificates.ts'
import type { EnableRequest, Question, ReserveRequest, Tuple, Verdict } from '../../policy/api.ts'
import type { PolicyAuthorizer } from '../../policy/options.ts'
import { combine } from './combine.ts'
import { createPdp, PDP_DEFAULTS, PdpConfigError, type Pdp, type PdpFailure, type PdpOptions } from './pdp.ts'
import { questionText, readAnswer } from './question.ts'

const READ: Question = { kind: 'read', agent: 'b2bua' }
const PATIENT_MS = 20_000
const toClose: (() => void)[] = []
afterEach(() => { for (const close of toClose.splice(0)) close() })

function tuple(word0: number, port: number, range = 1): Tuple {
  return { version: 4, word0, word1: 0, word2: 0, word3: 0, prefixBits: 32, protocol: 17, port, range }
}

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket) => { sockets.add(socket) })
  toClose.push(() => { server.close(); for (const socket of sockets) socket.destroy() })
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve) })
  return (server.address() as AddressInfo).port
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const piece of request.setEncoding('utf8')) text += String(piece)
  return text
}

function pdpAt(url: string, options: Partial<PdpOptions> = {}): Pdp & { told: PdpFailure[] } {
  const told: PdpFailure[] = []
  const pdp = createPdp({ ...PDP_DEFAULTS, timeoutMs: PATIENT_MS, url, onFailure: (failure) => told.push(failure), ...options })
  toClose.push(() => pdp.close())
  return { ...pdp, told }
}

/** A decision point whose endpoint is `serve`. */
async function withServer(serve: RequestListener, options: Partial<PdpOptions> = {}) {
  return pdpAt(`http://127.0.0.1:${await listen(createServer(serve))}/midcom`, options)
}

/** Answers every question with this text. */
const say = (text: string | Buffer, status = 200, headers: Record<string, string> = {}) =>
  (request: IncomingMessage, response: ServerResponse) => { request.resume(); response.writeHead(status, headers).end(text) }

async function refusedAs(pdp: Pdp & { told: PdpFailure[] }, failure: PdpFailure): Promise<void> {
  assert.deepEqual(await pdp.ask(READ), { permit: false })
  assert.deepEqual(pdp.told, [failure])
  assert.equal(pdp.statistics().failures[failure], 1)
  assert.equal(pdp.statistics().underWay + pdp.statistics().waiting, 0)
}

test('a prefix has no bits below its length, whatever the agent wrote there', () => {
  const at = (prefixBits: number, changes: Partial<Tuple> = {}) => {
    const internal = { ...tuple(0x0a0105ff, 0), prefixBits, ...changes }, request = { internal, external: tuple(1, 1), lifetimeSec: 1 }
    const text = questionText({ kind: 'disable', agent: 'a', request })
    return (JSON.parse(text) as { request: { internal: { prefix: string } } }).request.internal.prefix
  }
  assert.deepEqual([0, 8, 31, 32, 99].map((bits) => at(bits)), ['0.0.0.0/0', '10.0.0.0/8', '10.1.5.254/31', '10.1.5.255/32', '10.1.5.255/99'])
  assert.equal(at(33, { version: 6, word0: 0x20010db8, word1: -1, word3: 7 }), '2001:db8:8000::/33')
})

test('a question is a POST of one JSON object with addresses as text', async () => {
  const heard: { method: string; path: string; token: string; body: unknown }[] = []
  const pdp = await withServer((request, response) => {
    void bodyOf(request).then((text) => {
      heard.push({
        method: request.method!, path: request.url!, token: request.headers.authorization ?? '', body: JSON.parse(text),
      })
      response.end('{"permit":true,"maxLifetimeSec":120,"comment":"passed over"}')
    })
  }, { token: 'secret.1' })
  const enable: EnableRequest = {
    reservation: 0, group: 7, direction: 1, parity: 3, internal: tuple(0x0a000005, 5004, 2), lifetimeSec: 300, maxIdleSec: 0,
    external: { version: 6, word0: 0x20010db8, word1: 0, word2: 0, word3: 0, prefixBits: 32, protocol: 17, port: 0, range: 1 },
  }
  assert.deepEqual(await pdp.ask({ kind: 'enable', agent: 'b2bua', request: enable }), { permit: true, maxLifetimeSec: 120 })
  assert.deepEqual(heard, [{
    method: 'POST', path: '/midcom', token: 'Bearer secret.1', body: {
      version: 1, kind: 'enable', agent: 'b2bua', request: {
        reservation: 0, group: 7, direction: 'inbound', parity: 'same',
        internal: { version: 4, prefix: '10.0.0.5/32', protocol: 17, port: 5004, range: 2 },
        external: { version: 6, prefix: '2001:db8::/32', protocol: 17, port: 0, range: 1 }, lifetimeSec: 300, maxIdleSec: 0,
      },
    },
  }])
  assert.equal(pdp.statistics().permits, 1)
})

test('every kind of question has its members', () => {
  const reserve: ReserveRequest = {
    group: 0, service: 2, internalVersion: 4, externalVersion: 0, internal: null, protocol: 17, range: 2, parity: 2, lifetimeSec: 60,
  }
  const parsed = (question: Question) => JSON.parse(questionText(question)) as unknown
  assert.deepEqual(parsed({ kind: 'session', agent: 'a' }), { version: 1, kind: 'session', agent: 'a' })
  assert.deepEqual(parsed({ kind: 'lifetime', agent: 'a', owner: 'b', rule: 9, lifetimeSec: 0 }),
    { version: 1, kind: 'lifetime', agent: 'a', owner: 'b', rule: 9, lifetimeSec: 0 })
  assert.deepEqual(parsed({ kind: 'reserve', agent: 'a', request: reserve }), {
    version: 1, kind: 'reserve', agent: 'a', request: {
      group: 0, service: 'twice', internalVersion: 4, externalVersion: 0, internal: null, protocol: 17, range: 2, parity: 'even',
      lifetimeSec: 60,
    },
  })
  assert.deepEqual(parsed({ kind: 'disable', agent: 'a', request: { internal: tuple(0, 0), external: tuple(1, 2), lifetimeSec: 5 } }), {
    version: 1, kind: 'disable', agent: 'a', request: {
      internal: { version: 4, prefix: '0.0.0.0/32', protocol: 17, port: 0, range: 1 },
      external: { version: 4, prefix: '0.0.0.1/32', protocol: 17, port: 2, range: 1 }, lifetimeSec: 5,
    },
  })
})

test('a refusal carries its reason if it is one of the list', async () => {
  const answers = ['{"permit":false,"reason":"illegal-port"}', '{"permit":false,"reason":"because"}', '{"permit":false}']
  const pdp = await withServer((request, response) => { request.resume(); response.end(answers.shift()) })
  assert.deepEqual(await pdp.ask(READ), { permit: false, reason: 'illegal-port' })
  assert.deepEqual(await pdp.ask(READ), { permit: false })
  assert.deepEqual(await pdp.ask(READ), { permit: false })
  assert.deepEqual(pdp.told, [])
  assert.equal(pdp.statistics().refusals, 3)
})

test('garbage is a refusal', async () => {
  const garbage = ['', 'yes', '[true]', 'null', '{"permit":"true"}', '{"permit":1}', '{}', '{"permit":true,"maxLifetimeSec":-1}',
    '{"permit":true,"maxLifetimeSec":1.5}', '{"permit":true,"maxLifetimeSec":4294967296}', '{"permit":true,"maxLifetimeSec":"60"}']
  for (const text of garbage) assert.equal(readAnswer(Buffer.from(text)).ok, false, text)
  assert.equal(readAnswer(Uint8Array.of(0x22, 0xff, 0x22)).ok, false)
  await refusedAs(await withServer(say('<html>no</html>')), 'malformed')
})

test('a status other than 200 is a refusal, even with a permit in the body', async () => {
  await refusedAs(await withServer(say('{"permit":true}', 500)), 'bad-status')
  await refusedAs(await withServer(say('', 204)), 'bad-status')
})

test('a redirect is a refusal and nobody follows it', async () => {
  let elsewhere = 0
  const port = await listen(createServer((request, response) => { elsewhere++; say('{"permit":true}')(request, response) }))
  await refusedAs(await withServer(say('', 307, { location: `http://127.0.0.1:${port}/` })), 'redirected')
  assert.equal(elsewhere, 0)
})

test('an answer that is too large is a refusal, declared or not', async () => {
  const long = Buffer.from('{"permit":true}'.padEnd(1000))
  await refusedAs(await withServer(say(long, 200, { 'content-length': '1000' }), { maxAnswerBytes: 999 }), 'too-large')
  await refusedAs(await withServer(say(long, 200, { 'transfer-encoding': 'chunked' }), { maxAnswerBytes: 999 }), 'too-large')
  const exact = await withServer(say(long), { maxAnswerBytes: 1000 })
  assert.deepEqual(await exact.ask(READ), { permit: true })
})

test('no connection is a refusal', async () => {
  const server = createServer()
  const port = await listen(server)
  await new Promise((resolve) => server.close(resolve))
  await refusedAs(pdpAt(`http://127.0.0.1:${port}/`), 'unreachable')
})

test('an answer that ends early is a refusal', async () => {
  await refusedAs(await withServer((request, response) => {
    request.resume()
    response.writeHead(200, { 'content-length': '100' })
    response.write('{"permit":true}', () => response.socket?.destroy())
  }), 'unreachable')
})

test('silence is a refusal once the time is over', async () => {
  await refusedAs(await withServer((request) => { request.resume() }, { timeoutMs: 30 }), 'timed-out')
  await refusedAs(await withServer((request, response) => { request.resume(); response.write('{"permit":') }, { timeoutMs: 30 }), 'timed-out')
})

test('a slow answer in pieces is an answer', async () => {
  const pdp = await withServer((request, response) => {
    request.resume()
    const pieces = ['{"per', 'mit":', 'true}']
    const next = () => {
      const piece = pieces.shift()
      if (piece === undefined) response.end()
      else { response.write(piece); setTimeout(next, 5) }
    }
    next()
  })
  assert.deepEqual(await pdp.ask(READ), { permit: true })
})

test('requests under way and questions waiting are bounded; one more is refused at once', async () => {
  const held: ServerResponse[] = []
  let most = 0
  const pdp = await withServer((request, response) => {
    request.resume()
    held.push(response)
    most = Math.max(most, held.length)
  }, { maxConcurrent: 2, maxWaiting: 3 })
  const asked = Array.from({ length: 6 }, () => pdp.ask(READ))
  assert.deepEqual(await asked[5], { permit: false })
  assert.deepEqual(pdp.told, ['queue-full'])
  assert.deepEqual({ underWay: pdp.statistics().underWay, waiting: pdp.statistics().waiting }, { underWay: 2, waiting: 3 })
  const answering = setInterval(() => held.shift()?.end('{"permit":true}'), 1)
  assert.deepEqual(await Promise.all(asked.slice(0, 5)), Array.from({ length: 5 }, () => ({ permit: true })))
  clearInterval(answering)
  assert(most <= 2)
})

test('the time for an answer runs while a question waits for its turn', async () => {
  const pdp = await withServer((request) => { request.resume() }, { maxConcurrent: 1, timeoutMs: 40 })
  const asked = [pdp.ask(READ), pdp.ask(READ)]
  assert.deepEqual({ underWay: pdp.statistics().underWay, waiting: pdp.statistics().waiting }, { underWay: 1, waiting: 1 })
  assert.deepEqual(await Promise.all(asked), [{ permit: false }, { permit: false }])
  assert.deepEqual(pdp.told, ['timed-out', 'timed-out'])
  assert.deepEqual({ underWay: pdp.statistics().underWay, waiting: pdp.statistics().waiting }, { underWay: 0, waiting: 0 })
})

test('connections are kept, and one that the server closed meanwhile is replaced', async () => {
  const sockets: Socket[] = []
  const server = createServer(say('{"permit":true}'))
  server.keepAliveTimeout = 0
  server.on('connection', (socket) => sockets.push(socket))
  const pdp = pdpAt(`http://127.0.0.1:${await listen(server)}/`)
  for (let n = 0; n < 3; n++) assert.deepEqual(await pdp.ask(READ), { permit: true })
  assert.equal(sockets.length, 1)
  sockets[0]!.resetAndDestroy()
  assert.deepEqual(await pdp.ask(READ), { permit: true })
  assert.equal(sockets.length, 2)
})

test('permits are kept only where that is asked for, for their time, and refusals never', async () => {
  let nowMs = 0, asked = 0, answer = '{"permit":true,"maxLifetimeSec":9}'
  const serve: RequestListener = (request, response) => { asked++; say(answer)(request, response) }
  const off = await withServer(serve)
  await off.ask(READ)
  await off.ask(READ)
  assert.equal(asked, 2)

  const pdp = await withServer(serve, { cacheMs: 100, cacheEntries: 2, nowMs: () => nowMs })
  const of = (agent: string): Question => ({ kind: 'read', agent })
  asked = 0
  assert.deepEqual(await pdp.ask(of('a')), { permit: true, maxLifetimeSec: 9 })
  nowMs = 99
  assert.deepEqual(await pdp.ask(of('a')), { permit: true, maxLifetimeSec: 9 })
  assert.deepEqual([asked, pdp.statistics().cached], [1, 1])
  nowMs = 100
  await pdp.ask(of('a'))
  assert.equal(asked, 2)
  await pdp.ask(of('b'))
  await pdp.ask(of('c'))
  assert.equal(asked, 4)
  await pdp.ask(of('a'))                // the oldest of three made room
  assert.equal(asked, 5)
  pdp.forget('a')
  answer = '{"permit":false}'
  assert.deepEqual(await pdp.ask(of('a')), { permit: false })
  assert.deepEqual(await pdp.ask(of('a')), { permit: false })
  assert.equal(asked, 7)
  assert.deepEqual(await pdp.ask(of('c')), { permit: true, maxLifetimeSec: 9 })
  assert.equal(asked, 7)
})

test('closing refuses what is under way, what waits and what follows', async () => {
  const pdp = await withServer((request) => { request.resume() }, { maxConcurrent: 1 })
  const asked = [pdp.ask(READ), pdp.ask(READ)]
  pdp.close()
  assert.deepEqual(await Promise.all([...asked, pdp.ask(READ)]), [{ permit: false }, { permit: false }, { permit: false }])
  assert.deepEqual(pdp.told, ['closed', 'closed', 'closed'])
})

test('https checks the server by the given authority and shows a client certificate', { skip: NO_OPENSSL }, async () => {
  const { ca, of } = createCertificates('pdp', 'box')
  const server = createTlsServer({ ...of.pdp!, ca, requestCert: true, rejectUnauthorized: true }, say('{"permit":true}'))
  const url = `https://127.0.0.1:${await listen(server)}/`
  assert.deepEqual(await pdpAt(url, { ca, ...of.box! }).ask(READ), { permit: true })
  await refusedAs(pdpAt(url, { ...of.box! }), 'unreachable')
  await refusedAs(pdpAt(url, { ca }), 'unreachable')
})

test('an endpoint that cannot be used is an error of configuration with its setting', () => {
  const wrong: [Partial<PdpOptions>, string, string][] = [
    [{ url: 'not a url' }, 'pdp-url', 'url'],
    [{ url: 'ftp://127.0.0.1/' }, 'pdp-url', 'url'],
    [{ url: 'http://user:word@127.0.0.1/' }, 'pdp-url', 'url'],
    [{ ca: 'x' }, 'pdp-tls', 'ca'],
    [{ url: 'https://127.0.0.1/', cert: 'x' }, 'pdp-tls', 'key'],
    [{ url: 'https://127.0.0.1/', cert: 'x', key: 'y' }, 'pdp-tls', 'tls'],
    [{ token: 'two words' }, 'pdp-token', 'token'],
    [{ url: 'http://192.0.2.1/', token: 'x' }, 'pdp-token', 'token'],
    [{ timeoutMs: 0 }, 'pdp-limit', 'timeoutMs'],
    [{ maxConcurrent: 1.5 }, 'pdp-limit', 'maxConcurrent'],
  ]
  for (const [options, code, setting] of wrong) {
    assert.throws(() => createPdp({ ...PDP_DEFAULTS, url: 'http://127.0.0.1:1/', ...options }),
      (error: unknown) => error instanceof PdpConfigError && error.code === code && error.setting === setting, setting)
  }
})

test('profiles speak first; the external point narrows what they permit, for its agents only', async () => {
  const asked: Question[] = []
  let theirs: Verdict = { permit: true }
  const pdp = { ask: (question: Question) => { asked.push(question); return Promise.resolve(theirs) } }
  const profiles: PolicyAuthorizer = {
    decide: ({ agent, kind }) => kind === 'disable' ? { permit: false, reason: 'transaction-not-supported' }
      : agent === 'late' ? Promise.resolve({ permit: true }) : { permit: true, maxLifetimeSec: 100 },
    mayAccess: (agent, owner) => agent === owner,
    maxRules: () => 5,
  }
  const both = combine(profiles, pdp, (agent) => agent !== 'own')
  const read = (agent: string): Question => ({ kind: 'read', agent })
  assert.deepEqual(both.decide(read('own')), { permit: true, maxLifetimeSec: 100 })
  const refused: Question = { kind: 'disable', agent: 'ext', request: { internal: tuple(0, 0), external: tuple(1, 2), lifetimeSec: 5 } }
  assert.deepEqual(both.decide(refused), { permit: false, reason: 'transaction-not-supported' })
  assert.deepEqual(asked, [])
  assert.deepEqual(await both.decide(read('ext')), { permit: true, maxLifetimeSec: 100 })
  theirs = { permit: true, maxLifetimeSec: 60 }
  assert.deepEqual(await both.decide(read('ext')), { permit: true, maxLifetimeSec: 60 })
  theirs = { permit: true, maxLifetimeSec: 600 }
  assert.deepEqual(await both.decide(read('ext')), { permit: true, maxLifetimeSec: 100 })
  assert.deepEqual(await both.decide(read('late')), { permit: true, maxLifetimeSec: 600 })
  theirs = { permit: false, reason: 'conflict' }
  assert.deepEqual(await both.decide(read('ext')), theirs)
  assert.deepEqual([both.mayAccess('a', 'a'), both.mayAccess('a', 'b'), both.maxRules?.('a')], [true, false, 5])
  assert.equal(asked.length, 5)
})
