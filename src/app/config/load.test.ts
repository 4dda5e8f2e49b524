import assert from 'node:assert/strict'
import { NO_LIMITS } from '../../engine/hosts.ts'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { parseDocument } from 'yaml'
import { createPrefixSet, parse4 } from '../../base/address.ts'
import { createSimcoServer } from '../../control/simco/server.ts'
import type { Policy } from '../../policy/api.ts'
import { digest, type Config } from './config.ts'
import { checkConfig, ConfigError, defaultConfig, loadConfig } from './load.ts'
import { countToText, durationToText, parseCount, parseDuration } from './quantity.ts'
import { SCHEMA, settings } from './schema.ts'
import type { SectionList, Setting } from './setting.ts'
import { labTemplate, limits, template } from './template.ts'
import { parseValue } from './values.ts'

const scratch = mkdtempSync(join(tmpdir(), 'pinhole-config-'))
after(() => rmSync(scratch, { recursive: true }))

function good(text: string): Config {
  const { config, problems } = checkConfig(text)
  assert.deepEqual(problems, [])
  return config!
}

test('config: nothing, comments and empty sections mean the defaults', () => {
  for (const text of ['', '\n', '# nothing\n', '---\n', '---\n...\n', '{}', 'null', 'timers:\n', 'timers:\n  # udp: 5m\nnat:\n',
    '\uFEFF', '\uFEFFnat: {}\n', '\uFEFF# only\r\n']) {
    assert.deepEqual(good(text), defaultConfig(), JSON.stringify(text))
  }
})

test('config: the defaults are those that the RFCs recommend or demand', () => {
  const { timers, limits, nat, inside, box } = defaultConfig()
  assert.deepEqual(timers, {
    udpMs: 300_000, udpPorts: [], udpInboundRefresh: true, tcpOpeningMs: 240_000, tcpClosingMs: 240_000, tcpEstablishedMs: 7_440_000, icmpQueryMs: 60_000, otherMs: 300_000, associationMs: 7_440_000, associationOpeningMs: 480_000,
    fragmentMs: 2000, unsolicitedSynMs: 6000, portHoldMs: 120_000,
  })
  assert.deepEqual(limits, { flows: 262_144, fragmentDatagrams: 1024, fragmentHold: 256, icmpErrorsPerSecond: 100, icmpPerSecond: 0, fragmentsPerSecond: 0, halfOpen: 16_384, halfOpenPerSource: 4096, heldSyns: 512, heldPorts: 65_536, perHost: NO_LIMITS, fullTable: 'evict', refusal: 'prohibited' })
  assert.equal(nat.filtering, 'address-dependent')
  assert.deepEqual(nat.pool.map(word => (word >>> 0).toString(16)), ['cb007101', 'cb007102', 'cb007103', 'cb007104'])
  assert.equal(box.insideAddress >>> 0, 0xc0000008)
  const set = createPrefixSet(inside)
  const has = (text: string) => { const word = parse4(text); assert(word.ok); return set.has4(word.value) }
  assert.deepEqual(['10.9.8.7', '172.31.255.255', '192.168.0.1', '172.32.0.0', '8.8.8.8'].map(has),
    [true, true, true, false, false])
})

const octets = (text: string) => Uint8Array.from(Buffer.from(text))

test('config: every setting is read', () => {
  const config = good(`
inside: [100.64.0.0/10, "2001:db8::/32"]
interfaces:
  inside: {name: in0, vlan: 7, addresses: [10.0.0.1/24]}
  outside: {name: eth0.7, addresses: [192.0.2.9/29, "2001:db8::9/64"]}
  gateways: [192.0.2.10]
  routes: [{to: 10.1.0.0/16, via: 10.0.0.2}]
  driver: packet
box: {inside-address: 192.0.2.1, address6: "2001:db8::1", mtu-inside: 9000, mtu-outside: 1500, mss: 1300}
nat:
  nat44: false
  pool: [198.51.100.7, 198.51.100.16/30, 198.51.100.1 - 198.51.100.2]
  ports: 2000-3000
  port-preservation: false
  filtering: endpoint-independent
  tcp-filtering: same
  hairpinning: false
firewall: {outbound: deny, inbound6: permit, echo6: deny, ipsec6: deny, tcp-midstream: false, unsolicited-syn: drop}
timers: {udp: 2m, udp-ports: [{port: 53, idle: 5s}, {port: '123', idle: 30s}], udp-inbound-refresh: false, tcp-opening: 30s, tcp-closing: 1h, tcp-established: 12d, icmp-query: 1m30s, other: 1s500ms, association: 3h, association-opening: 9m, fragment: 1000ms, unsolicited-syn: 60s, port-hold: 3m}
limits: {flows: 4M, fragment-datagrams: 2k, fragment-hold: 0, icmp-errors-per-second: 1e3, icmp-per-second: 5, fragments-per-second: 6, half-open: 7, half-open-per-source: 8, held-syns: 9, per-host: {flows: 10, flows-per-second: 11, ports: 2k, udp-ports: 12, tcp-ports: 64k, icmp-identifiers: 13}, held-ports: 14, full-table: refuse, refusal: host-unreachable}
checks: {ipv4-checksum: ignore, tcp-flags: ignore, tcp-window: loose, spoofing: both, reserved6: drop, unique-local: drop}
midcom:
  enabled: true
  ports: 1-3
  service: traditional
  strict-nat-mode: false
  max-lifetime: 1d
  idle-timeout: 30s
  extend: false
  disable-rules: false
  wildcards: {internal: true, external: true, ports: false}
  limits: {rules: 1M, ports-per-rule: 2, sessions: 3, bound-ports: 4}
  agents:
    - name: one
    - name: two
      key: 00112233445566778899aabbccddeeff
      certificates: ['CN:two', 'DNS:two.example']
      may: [read]
      inside: [10.0.0.0/8]
      outside: ['::/0']
      inside-ports: [1-2, 5-6]
      outside-ports: [3-4]
      protocols: [udp, 132]
      directions: [inbound]
      max-lifetime: 2m
      max-rules: 0
      acts-for: ['*']
      pdp: true
  simco:
    listen: ['[::1]:0', 127.0.0.1:1]
    tls: {ca: package.json, cert: package.json, key: package.json}
    allow-plain: true
    loopback-agent: two
    challenge: false
    limits: {connections: 1, connections-per-remote: 2, open: 3s, idle: 4s, message: 5s, stalled: 6s, drain: 7s, queued-bytes: 512k, failures-per-minute: 9, faults-per-minute: 10, fault-wait: 8s}
  state: kept
  snmp:
    listen: ['[::1]:0', 127.0.0.1:1161]
    engine-id: '0x8000000001'
    contact: me
    name: box
    location: here
    users:
      - {name: u1, agent: two, auth-password: abcdefgh, priv-password: ijklmnop}
      - {name: u2, group: g, auth: SHA-512, auth-password-file: package.json, priv: AES-256, priv-password-file: tsconfig.json}
    groups: [{name: g, read: v, write: v, notify: v}, {name: h}]
    views: [{name: v, include: [1.3.6.1, 'rules-of:two'], exclude: [.1.3.6.1.*.9]}, {name: w}]
    targets: [{name: t, address: 192.0.2.1:162, user: u1}, {name: i, address: '[2001:db8::1]:1162', user: u2, type: inform, timeout: 2s, retries: 4, events: false}]
    limits: {message-bytes: 484, varbinds: 16, queued-messages: 17, queued-notifications: 18, remembered-sets: 19}
  pdp: {url: 'https://pdp.example/x', timeout: 1s, concurrent: 2, waiting: 3, cache: 4ms, ca: package.json, token-file: package.json}
`)
  assert.deepEqual(config, {
    inside: [
      { version: 4, words: Int32Array.of(0x64400000), prefixBits: 10, hostBits: false },
      { version: 6, words: Int32Array.of(0x20010db8, 0, 0, 0), prefixBits: 32, hostBits: false },
    ],
    interfaces: {
      inside: { name: 'in0', vlan: 7, addresses: [{ version: 4, words: Int32Array.of(0x0a000001), prefixBits: 24 }] },
      outside: {
        name: 'eth0.7', vlan: 0,
        addresses: [
          { version: 4, words: Int32Array.of(0xc0000209 | 0), prefixBits: 29 },
          { version: 6, words: Int32Array.of(0x20010db8, 0, 0, 9), prefixBits: 64 },
        ],
      },
      gateways: [{ version: 4, words: Int32Array.of(0xc000020a | 0) }],
      routes: [{
        to: { version: 4, words: Int32Array.of(0x0a010000), prefixBits: 16, hostBits: false },
        via: { version: 4, words: Int32Array.of(0x0a000002) },
      }],
      driver: 'packet',
    },
    box: { insideAddress: 0xc0000201 | 0, address6: Int32Array.of(0x20010db8, 0, 0, 1), mtuInside: 9000, mtuOutside: 1500, mss: 1300 },
    nat: {
      nat44: false,
      pool: [0xc6336407, 0xc6336410, 0xc6336411, 0xc6336412, 0xc6336413, 0xc6336401, 0xc6336402].map(word => word | 0),
      ports: { first: 2000, last: 3000 }, portPreservation: false, filtering: 'endpoint-independent',
      tcpFiltering: 'endpoint-independent', hairpinning: false,
      // See nat.test.ts and compose.test.ts.
      identification: 'fragments', portBlock: 0, portBlocksPerHost: 8, portHold: 'exposed', pools: [], reserve: [], statics: [], forwards: [], untranslated: [], aliases: [], npt6: [],
    },
    firewall: { outbound: 'deny', inbound6: 'permit', echo6: 'deny', ipsec6: 'deny', tcpMidstream: false, unsolicitedSyn: 'drop', rules: [] },
    timers: {
      udpMs: 120_000, udpPorts: [{ port: 53, idleMs: 5000 }, { port: 123, idleMs: 30_000 }], udpInboundRefresh: false, tcpOpeningMs: 30_000, tcpClosingMs: 3_600_000, tcpEstablishedMs: 1_036_800_000, icmpQueryMs: 90_000, otherMs: 1500, associationMs: 10_800_000, associationOpeningMs: 540_000,
      fragmentMs: 1000, unsolicitedSynMs: 60_000, portHoldMs: 180_000,
    },
    limits: { flows: 4_194_304, fragmentDatagrams: 2048, fragmentHold: 0, icmpErrorsPerSecond: 1000, icmpPerSecond: 5, fragmentsPerSecond: 6, halfOpen: 7, halfOpenPerSource: 8, heldSyns: 9, heldPorts: 14, perHost: { flows: 10, flowsPerSecond: 11, ports: 2048, udpPorts: 12, tcpPorts: 65_536, identifiers: 13 }, fullTable: 'refuse', refusal: 'host-unreachable' },
    checks: { ipv4Checksum: 'ignore', tcpFlags: false, tcpWindow: 'loose', reserved6: 'drop', uniqueLocal: 'drop', spoofing: 'both' },
    midcom: {
      enabled: true, ports: { first: 1, last: 3 }, addresses: [], insidePool: [], service: 'traditional', strictNatMode: false,
      maxLifetimeSec: 86_400, idleTimeoutSec: 30, extend: false, disableRules: false,
      wildcards: { internal: true, external: true, ports: false },
      limits: { rules: 1_048_576, portsPerRule: 2, sessions: 3, boundPorts: 4 },
      agents: [
        {
          name: 'one', key: null, certificates: [], may: null, inside: null, outside: null, insidePorts: null, outsidePorts: null, protocols: null,
          directions: null, maxLifetimeSec: null, maxRules: null, actsFor: [], pdp: false,
        },
        {
          name: 'two', key: Uint8Array.from({ length: 16 }, (_, i) => i * 17), certificates: ['CN:two', 'DNS:two.example'], may: ['read'],
          inside: [{ version: 4, words: Int32Array.of(0x0a000000), prefixBits: 8, hostBits: false }],
          outside: [{ version: 6, words: Int32Array.of(0, 0, 0, 0), prefixBits: 0, hostBits: false }],
          insidePorts: [{ first: 1, last: 2 }, { first: 5, last: 6 }], outsidePorts: [{ first: 3, last: 4 }], protocols: [17, 132],
          directions: ['inbound'], maxLifetimeSec: 120, maxRules: 0, actsFor: ['*'], pdp: true,
        },
      ],
      simco: {
        listen: [{ host: '::1', port: 0 }, { host: '127.0.0.1', port: 1 }],
        tls: { cert: resolve('package.json'), key: resolve('package.json'), ca: resolve('package.json') },
        allowPlain: true, loopbackAgent: 'two', challenge: false,
        limits: {
          connections: 1, connectionsPerRemote: 2, openMs: 3000, idleMs: 4000, messageMs: 5000, stalledMs: 6000, drainMs: 7000, queuedBytes: 524_288,
          failuresPerMinute: 9, faultsPerMinute: 10, faultWaitMs: 8000,
        },
      },
      stateDirectory: resolve('kept'),
      snmp: {
        listen: [{ host: '::1', port: 0 }, { host: '127.0.0.1', port: 1161 }], engineId: Uint8Array.of(0x80, 0, 0, 0, 1),
        contact: 'me', name: 'box', location: 'here',
        users: [
          { name: 'u1', agent: 'two', group: null, auth: 'SHA-256', authPassword: octets('abcdefgh'), priv: 'AES', privPassword: octets('ijklmnop') },
          {
            name: 'u2', agent: null, group: 'g', auth: 'SHA-512', authPassword: octets(readFileSync('package.json', 'utf8').trimEnd()),
            priv: 'AES-256', privPassword: octets(readFileSync('tsconfig.json', 'utf8').trimEnd()),
          },
        ],
        groups: [{ name: 'g', read: 'v', write: 'v', notify: 'v' }, { name: 'h', read: null, write: null, notify: null }],
        views: [
          {
            name: 'v', include: [{ subtree: [1, 3, 6, 1], wildcards: [] }, { rulesOf: 'two' }],
            exclude: [{ subtree: [1, 3, 6, 1, 0, 9], wildcards: [4] }],
          },
          { name: 'w', include: [], exclude: [] },
        ],
        targets: [
          { name: 't', address: { host: '192.0.2.1', port: 162 }, user: 'u1', type: 'trap', timeoutMs: 15_000, retries: 3, events: true },
          { name: 'i', address: { host: '2001:db8::1', port: 1162 }, user: 'u2', type: 'inform', timeoutMs: 2000, retries: 4, events: false },
        ],
        limits: { messageBytes: 484, varbinds: 16, queuedMessages: 17, queuedNotifications: 18, rememberedSets: 19 },
      },
      pdp: {
        url: 'https://pdp.example/x', timeoutMs: 1000, maxConcurrent: 2, maxWaiting: 3, cacheMs: 4, ca: resolve('package.json'),
        tokenFile: resolve('package.json'),
      },
    },
  })
  const apart = good('nat: {pool: [203.0.113.1]}\nmidcom:\n  addresses: [203.0.113.8/31]\n  inside-pool: [192.0.2.1]\n  service: twice\n').midcom
  assert.deepEqual([apart.addresses, apart.insidePool, apart.service], [[0xcb007108 | 0, 0xcb007109 | 0], [0xc0000201 | 0], 'twice'])
})

/** What a file says at a path such as `midcom.limits.rules`. */
function at(written: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], written)
}

/** Settings that stand for themselves, not in an entry of a list. */
const single = () => settings().filter(([path]) => !path.includes('[]'))

/** What parts of a firewall rule need beside them. */
const WITH: Record<string, object> = {
  'source-ports': { protocol: 'tcp' }, 'destination-ports': { protocol: 'udp' }, 'icmp-types': { protocol: 'icmp' },
  'tcp-flags': { protocol: 'tcp' }, 'tcp-options': { protocol: 'tcp' },
}

/** What an entry of a list of sections must have, as the examples have it. */
function required(list: string): Record<string, unknown> {
  let node: unknown = SCHEMA
  for (const key of list.split('.')) node = (node as { properties: Record<string, unknown> }).properties[key]
  const { items } = node as SectionList
  return Object.fromEntries((items.required ?? []).map(key => [key, (items.properties[key] as Setting).examples![0]]))
}

/** A file with one setting, in an entry that has what it must have beside that if it belongs to one. */
function fileOf(path: string, value: unknown): string {
  const [outer, inner] = path.split('[].')
  const whole = inner === undefined ? value : [{ ...required(outer!), ...WITH[inner], [inner]: value }]
  return JSON.stringify(outer!.split('.').reduceRight((part: unknown, key) => ({ [key]: part }), whole))
}

test('config: what `init` prints means the defaults and names every setting', () => {
  assert.deepEqual(good(template()), defaultConfig())
  const written = parseDocument(template()).toJS() as unknown
  for (const [path, { default: fallback, description }] of single()) {
    assert.deepEqual(at(written, path), fallback, path)
    assert(description.length > 10, path)
  }
  assert.deepEqual(Object.keys(written as object), Object.keys(SCHEMA.properties))
  assert(template().split('\n').every(line => line.length <= 100 || line.startsWith('# `pinhole')))
  // Settings of the entries of lists stand in comments.
  for (const [path] of settings()) assert.match(template(), new RegExp(`^ *#? *${path.split(/\.|\[]\./).at(-1)!}:`, 'm'), path)
})

test('config: what `init` says that a setting may be, it may be, and nothing less or more', () => {
  let ranges = 0
  for (const [path, setting] of settings()) {
    const rule = setting['x-value']
    const said = /^(?:(.*), or )?(\S+) to (\S+)(?: .*)?; default /.exec(limits(setting))
    if (rule?.min === undefined || said === null) continue
    ranges++
    const [, beside, min, max] = said
    const asWritten = (value: string) => rule.kind === 'ports' ? `${value}-${value}` : value
    for (const value of [...beside?.split(', ') ?? [], asWritten(min!), asWritten(max!)]) {
      assert.equal(parseValue(rule, value).ok, true, `${path}: ${value}`)
    }
    if (beside === undefined) assert.equal(rule.off === true || rule.word !== undefined, false, path)
    if (rule.kind !== 'count') continue
    const [least, most] = [min!, max!].map((text) => parseCount(text)) as { ok: true; value: number }[]
    for (const value of [least!.value - 1, most!.value + 1].filter((one) => one > 0)) {
      assert.equal(parseValue(rule, value).ok, false, `${path}: ${value}`)
    }
  }
  assert.ok(ranges > 60, `${ranges}`)
})

test('config: counts stand in what `init` prints as they are written, in k and M where they are whole in them, beside and as a value', () => {
  for (const [path, { default: fallback, 'x-value': rule }] of settings()) {
    if (rule?.kind !== 'count') continue
    for (const written of [fallback, rule.min, rule.max]) {
      if (written === undefined) continue
      const parsed = parseCount(written as string | number)
      assert.ok(parsed.ok && String(written) === countToText(parsed.value), `${path}: ${String(written)}`)
    }
  }
  assert.match(template(), /^ +# 256k to 256M bytes; default 1M\n +queued-bytes: 1M$/m)
  assert.deepEqual([0, 1, 1000, 1024, 196_608, 1_048_576, 1_049_600].map(countToText), ['0', '1', '1000', '1k', '192k', '1M', '1025k'])
})

test('config: what `init --lab` prints can be used, and says which values are not the default', () => {
  const config = good(labTemplate()), plain = defaultConfig()
  assert.deepEqual(config.midcom.agents.map(({ name }) => name), ['lab'])
  assert.equal(config.midcom.simco.loopbackAgent, 'lab')
  assert.deepEqual([config.midcom.enabled, config.midcom.simco.challenge], [true, false])
  assert.deepEqual(config.midcom.wildcards, { internal: true, external: true, ports: true })
  assert.deepEqual(config.midcom.simco.listen, [{ host: '127.0.0.1', port: 7626 }])
  assert.deepEqual(config.midcom.snmp.listen, [{ host: '127.0.0.1', port: 1161 }])
  assert.deepEqual(config.midcom.snmp.users.map(({ name, agent, auth, priv }) => [name, agent, auth, priv]), [['lab', 'lab', 'SHA-256', 'AES']])
  assert.equal(config.midcom.stateDirectory, resolve('pinhole-lab-state'))
  assert.deepEqual({ ...config, inside: plain.inside, midcom: plain.midcom }, plain)
  assert.deepEqual(config.inside.length, 1)
})

test('config: two files that mean the same have the same digest', () => {
  const digests = ['', template(), 'timers: {udp: 300s}', 'limits: {flows: 262144}'].map(text => digest(good(text)))
  assert.match(digests[0]!, /^[0-9a-f]{64}$/)
  assert.equal(new Set(digests).size, 1)
  assert.equal(digest(structuredClone(defaultConfig())), digests[0])
  const others = ['timers: {udp: 301s}', 'inside: [10.0.0.0/8]', 'nat: {pool: [203.0.113.1]}', 'box: {address6: fe80::2}']
  assert.equal(new Set([...digests, ...others.map(text => digest(good(text)))]).size, 5)
})

test('config: what the schema offers an editor, the checker takes', () => {
  for (const [path, { examples = [], pattern, enum: choices, default: fallback, items, 'x-value': rule }] of settings()) {
    for (const value of [...fallback === undefined ? [] : [fallback], ...examples, ...choices ?? [], ...items?.enum?.map(one => [one]) ?? []]) {
      // Files, other agents and addresses of the examples need not be there.
      const complaints = checkConfig(fileOf(path, value)).problems.filter(({ message }) => !/there is no|ENOENT|come together|inside-pool|is missing|in no group|has no name|has no address|no interface is named/.test(message))
      assert.deepEqual(complaints, [], `${path}: ${JSON.stringify(value)}`)
      if (pattern !== undefined && typeof value === 'string') assert.match(value, new RegExp(pattern), path)
    }
    assert(rule !== undefined || choices !== undefined || items !== undefined || fallback !== undefined, path)
  }
})

test('config: keys are read as hex or base64, from the file or from one beside it, and do not show in the digest', () => {
  const hex = '00112233445566778899aabbccddeeff', base64 = Buffer.from(hex, 'hex').toString('base64')
  writeFileSync(join(scratch, 'agent.key'), `${hex}\n`)
  const ways = [`key: ${hex}`, `key: '${base64}'`, 'key-file: agent.key', `key: ${hex.toUpperCase()}`].map((line) => {
    const { config, problems } = checkConfig(`midcom: {agents: [{name: a, ${line}}]}`, scratch)
    assert.deepEqual(problems, [], line)
    return config!
  })
  for (const { midcom } of ways) assert.deepEqual(midcom.agents[0]!.key, Uint8Array.from(Buffer.from(hex, 'hex')))
  const other = good(`midcom: {agents: [{name: a, key: ${hex.replace('0', '1')}}]}`)
  assert.equal(digest(other), digest(ways[0]!))
  assert.notEqual(digest(good('midcom: {agents: [{name: a}]}')), digest(ways[0]!))
})

test('config: a file that cannot be read is named, with the reason', () => {
  const write = (name: string, bytes: string | Uint8Array) => {
    writeFileSync(join(scratch, name), bytes)
    return join(scratch, name)
  }
  const cases: [string, RegExp][] = [
    [join(scratch, 'absent'), /absent: there is no such file; `pinhole init`/],
    [scratch, /: this is a directory; name the file in it$/],
    [write('utf16', Uint8Array.of(0xff, 0xfe, 0x61, 0)), /utf16: this is UTF-16; save it as UTF-8$/],
    [write('latin1', Uint8Array.of(0x23, 0xe9, 0x0a)), /latin1: this is not UTF-8 text$/],
    [write('huge', '#'.repeat((1 << 18) + 1)), /huge: 262145 bytes are too many for a configuration$/],
  ]
  for (const [path, message] of cases) {
    assert.throws(() => loadConfig(path), (error: unknown) => {
      assert(error instanceof ConfigError)
      assert.equal(error.code, 'config-unreadable')
      assert.match(error.message, message)
      return true
    })
  }
  const faulty = write('faulty.yaml', 'a: 1\nb: 2\n')
  assert.throws(() => loadConfig(faulty), (error: unknown) => error instanceof ConfigError
    && error.code === 'config-invalid' && error.problems.length === 2 && error.message.split('\n').length === 2)
  assert.deepEqual(loadConfig(write('bom.yaml', '\uFEFFtimers:\r\n  udp: 5m\r\n')), defaultConfig())
})

test('config: a duration printed is the duration read', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 40 }), ms => {
    const parsed = parseDuration(durationToText(ms))
    assert(parsed.ok && parsed.value === ms)
  }))
  assert.deepEqual([parseCount('256k'), parseCount('1M'), parseCount(7), parseCount('7')],
    [262_144, 1_048_576, 7, 7].map(value => ({ ok: true, value })))
})

test('config: the door takes the least and the most that the schema allows it', () => {
  const limits = single().filter(([path]) => path.startsWith('midcom.simco.limits.'))
  assert.equal(limits.length, 11)
  for (const which of ['min', 'max'] as const) {
    const lines = limits.map(([path, { 'x-value': rule }]) => `${path.split('.').at(-1)!}: ${rule![which]!}`)
    const { midcom } = good(`midcom: {simco: {limits: {${lines.join(', ')}}}}\n`)
    const listeners = [{ host: '127.0.0.1', port: 0, challenge: false, loopbackAgent: 'lab' }]
    const policy = { onApplied() { /* nothing is carried out */ } } as unknown as Policy
    createSimcoServer({ policy, agents: [], listeners, limits: midcom.simco.limits })
  }
})

test('config: no text makes the checker throw, and every problem has a place in it', () => {
  const piece = fc.constantFrom('inside', 'nat', 'timers', 'pool', 'udp', ':', ': ', '\n', '\n  ', '\n- ', '[', ']', '{', '}',
    ',', '"', "'", '&a ', '*a', '!!str ', '---\n', '...\n', '%YAML 1.1\n', '\t', '#', '|', '>', '?', '0', '5m', '10.0.0.0/8',
    '::', 'null', '~', '\r', '\uFEFF', '\0', '💥')
  fc.assert(fc.property(fc.array(piece, { maxLength: 30, size: 'max' }).map(parts => parts.join('')), text => {
    const lines = text.split('\n').length
    for (const { line, column, message } of checkConfig(text).problems) {
      assert(line >= 1 && line <= lines && column >= 1, `${line}:${column} in ${JSON.stringify(text)}`)
      assert(!/undefined|\[object/.test(message), message)
    }
  }), { numRuns: 2000 })
})
