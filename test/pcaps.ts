/**
 * The captures of `pcaps/`, built from values: `npm run pcaps` writes them, and what the replay makes of them beside them.
 * `test/pcaps.test.ts` holds that both are still what the repository carries. Addresses: inside 10.0.0.0/24 and fd00:1::/64, outside
 * the documentation ranges (RFC 5737, RFC 3849).
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { encodePcap } from '../src/phy/testing.ts'
import { buildPacket, fragment, icmpError, type PacketSpec } from '../src/wire/build.ts'

const FIN_ACK = 0x11, SYN = 2, SYN_ACK = 0x12, RST_ACK = 0x14, ACK = 0x10, PSH_ACK = 0x18
/** 2026-01-01 00:00:00 UTC. */
const START_SEC = 1767225600

interface Step { ms: number; bytes: Uint8Array }

function text(words: string): Uint8Array {
  return new TextEncoder().encode(words)
}

function ethernet(ms: number, spec: PacketSpec): Step {
  return { ms, bytes: buildPacket({ link: 'ethernet', ...spec }) }
}

/** A packet that was made at the network layer, in an Ethernet frame. */
function framed(ms: number, packet: Uint8Array): Step {
  const header = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, packet[0] >> 4 === 6 ? 0x86 : 8, packet[0] >> 4 === 6 ? 0xdd : 0]
  return { ms, bytes: Uint8Array.from([...header, ...packet]) }
}

type End = [address: string, port: number]

function udp(ms: number, [src, srcPort]: End, [dst, dstPort]: End, payload = 'x'.repeat(64)): Step {
  return ethernet(ms, { proto: 'udp', src, srcPort, dst, dstPort, payload: text(payload) })
}

/** A whole TCP connection: handshake, `segments` of data each way, and a close in order. */
function tcp(ms: number, client: End, server: End, segments: number): Step[] {
  const steps: Step[] = []
  let at = ms
  let clientSeq = 1000, serverSeq = 5000
  const send = (forth: boolean, tcpFlags: number, payload: Uint8Array = new Uint8Array()) => {
    const [from, to] = forth ? [client, server] : [server, client]
    steps.push(ethernet(at += 20, {
      proto: 'tcp', src: from[0], srcPort: from[1], dst: to[0], dstPort: to[1], tcpFlags, payload,
      seq: forth ? clientSeq : serverSeq, ack: forth ? serverSeq : clientSeq,
    }))
    const moved = payload.length + ((tcpFlags & 3) === 0 ? 0 : 1)
    if (forth) clientSeq += moved
    else serverSeq += moved
  }
  send(true, SYN)
  send(false, SYN_ACK)
  send(true, ACK)
  for (let n = 0; n < segments; n++) {
    send(true, PSH_ACK, text(`request ${n} `.repeat(9)))
    send(false, PSH_ACK, text(`answer ${n} `.repeat(110)))
    send(true, ACK)
  }
  send(true, FIN_ACK)
  send(false, FIN_ACK)
  send(true, ACK)
  return steps
}

function ping(ms: number, src: string, dst: string, icmpId: number): Step[] {
  const payload = text('0123456789abcdef'.repeat(3))
  const six = src.includes(':')
  const proto = six ? 'icmp6' : 'icmp'
  return [
    ethernet(ms, { proto, src, dst, icmpType: six ? 128 : 8, icmpId, icmpSeq: 1, payload }),
    ethernet(ms + 15, { proto, src: dst, dst: src, icmpType: six ? 129 : 0, icmpId, icmpSeq: 1, payload }),
  ]
}

function fragmentSteps(ms: number, src: End, dst: End, bytes: number, id: number, order: number[]): Step[] {
  const whole = buildPacket({ proto: 'udp', src: src[0], srcPort: src[1], dst: dst[0], dstPort: dst[1], id, payload: text('f'.repeat(bytes)) })
  const pieces = fragment(whole, [1480, 1480])
  return order.map((piece, n) => framed(ms + n, pieces[piece]))
}

function errors(): Step[] {
  const probe = buildPacket({ proto: 'udp', src: '10.0.0.5', srcPort: 33000, dst: '198.51.100.9', dstPort: 33434, ttl: 3, payload: text('probe') })
  const query = buildPacket({ proto: 'icmp', src: '10.0.0.5', dst: '198.51.100.9', icmpType: 8, icmpId: 77, icmpSeq: 1, payload: text('ping') })
  const stranger = buildPacket({ proto: 'udp', src: '10.0.0.5', srcPort: 44000, dst: '198.51.100.9', dstPort: 1, payload: text('never sent') })
  return [
    framed(0, probe),
    framed(10, icmpError({ src: '192.0.2.1', original: probe, icmpType: 11 })),
    framed(20, icmpError({ src: '198.51.100.9', original: probe, icmpType: 3, icmpCode: 3 })),
    framed(30, query),
    framed(40, icmpError({ src: '192.0.2.1', original: query, icmpType: 11 })),
    framed(50, icmpError({ src: '192.0.2.1', original: stranger, icmpType: 3, icmpCode: 1 })),
    // TTL spent at the box itself: it answers.
    ethernet(60, { proto: 'udp', src: '10.0.0.5', srcPort: 33001, dst: '198.51.100.9', dstPort: 33434, ttl: 1, payload: text('probe') }),
  ]
}

function mixed(): Step[] {
  const steps: Step[] = []
  for (let host = 1; host <= 6; host++) {
    const inside = `10.0.0.${host}`
    const at = host * 300
    steps.push(udp(at, [inside, 40000 + host], ['192.0.2.53', 53], 'query'), udp(at + 30, ['192.0.2.53', 53], [inside, 40000 + host], 'answer'))
    // Every host uses the same source port: one keeps it on each outside address, the others get another.
    steps.push(...tcp(at + 60, [inside, 50000], [`198.51.100.${host % 3 + 1}`, 443], 3 + host))
    steps.push(...ping(at + 90, inside, '198.51.100.1', 7))
    steps.push(...tcp(at + 120, [`fd00:1::${host}`, 50000], ['2001:db8::80', 80], 2))
  }
  steps.push(udp(2500, ['203.0.113.99', 9999], ['10.0.0.3', 5060], 'nobody asked'))
  steps.push(ethernet(2600, { proto: 'tcp', src: '203.0.113.99', srcPort: 6000, dst: '10.0.0.2', dstPort: 22, tcpFlags: SYN }))
  steps.push(ethernet(2700, { proto: 'tcp', src: '10.0.0.2', srcPort: 50001, dst: '198.51.100.2', dstPort: 81, tcpFlags: SYN, seq: 1 }))
  steps.push(ethernet(2720, { proto: 'tcp', src: '198.51.100.2', srcPort: 81, dst: '10.0.0.2', dstPort: 50001, tcpFlags: RST_ACK, ack: 2 }))
  steps.push(...fragmentSteps(2800, ['10.0.0.4', 6000], ['198.51.100.4', 6000], 3400, 99, [0, 1, 2]))
  steps.push(...errors().map(({ ms, bytes }) => ({ ms: ms + 3000, bytes })))
  steps.push(udp(3200, ['10.0.0.1', 1900], ['239.255.255.250', 1900], 'multicast'))
  return steps.sort((a, b) => a.ms - b.ms)
}

export const CAPTURES: Record<string, () => Step[]> = {
  'nat-mixed': mixed,
  'udp-filtering': () => [
    udp(0, ['10.0.0.1', 5000], ['198.51.100.1', 6000]),
    udp(10, ['198.51.100.1', 6000], ['10.0.0.1', 5000]),
    udp(20, ['198.51.100.1', 6001], ['10.0.0.1', 5000]),
    udp(30, ['198.51.100.2', 6000], ['10.0.0.1', 5000]),
    udp(299_999, ['198.51.100.1', 6000], ['10.0.0.1', 5000]),
    udp(600_000, ['198.51.100.1', 6000], ['10.0.0.1', 5000]),
  ],
  'udp-hairpin': () => [
    udp(0, ['10.0.0.1', 5000], ['198.51.100.1', 3478]),
    udp(10, ['10.0.0.2', 5000], ['198.51.100.1', 3478]),
    ...[1, 2, 3, 4].flatMap((last) => [
      udp(100 + last, ['10.0.0.1', 5000], [`203.0.113.${last}`, 5000], 'to the outside endpoint of the other'),
      udp(200 + last, ['10.0.0.2', 5000], [`203.0.113.${last}`, 5000], 'and back'),
    ]),
  ],
  'tcp-lifecycle': () => tcp(0, ['10.0.0.1', 50000], ['198.51.100.1', 443], 3),
  'udp-fragments': () => [
    ...fragmentSteps(0, ['10.0.0.1', 5000], ['198.51.100.1', 6000], 4000, 1, [0, 1, 2]),
    ...fragmentSteps(10, ['198.51.100.1', 6000], ['10.0.0.1', 5000], 4000, 2, [2, 1, 0]),
    // The first piece never comes.
    ...fragmentSteps(20, ['198.51.100.1', 6000], ['10.0.0.1', 5000], 4000, 3, [1, 2]),
    ...fragmentSteps(30, ['10.0.0.1', 5000], ['198.51.100.1', 6000], 4000, 4, [0, 1, 1, 2]),
  ],
  'icmp-errors': errors,
  'midcom-call': call,
  'ipv6-firewall': () => [
    ...tcp(0, ['fd00:1::1', 50000], ['2001:db8::80', 80], 2),
    ...ping(500, 'fd00:1::1', '2001:db8::80', 5),
    udp(600, ['2001:db8::80', 53], ['fd00:1::1', 53], 'unsolicited'),
    ethernet(700, { proto: 'udp', src: 'fd00:1::1', srcPort: 1, dst: '2001:db8::80', dstPort: 33434, ttl: 1, payload: text('hop') }),
  ],
}

/** A call whose media agents let in: announced at 1 s, let in from 2 s, prolonged at 4 s, over at 6 s. */
function call(): Step[] {
  const phone: End = ['10.0.0.5', 5004], rtcp: End = ['10.0.0.5', 5005], peer: End = ['198.51.100.7', 6000]
  const steps: Step[] = []
  for (let ms = 0; ms <= 8000; ms += 250) {
    steps.push(udp(ms, peer, phone, 'rtp'.repeat(40)))
    if (ms % 1000 === 0) steps.push(udp(ms + 1, ['198.51.100.7', 6001], rtcp, 'rtcp'), udp(ms + 2, ['198.51.100.66', 6000], phone, 'a stranger'))
    if (ms % 2000 === 500) steps.push(udp(ms + 3, phone, peer, 'the rule lets nothing out'))
    if (ms % 2000 === 0) steps.push(udp(ms + 4, ['2001:db8::7', 6000], ['fd00:1::5', 5004], 'the same by IPv6'))
  }
  // What the inside may open only while a rule says so.
  for (const ms of [1500, 3500, 7500]) steps.push(...tcp(ms, ['10.0.0.6', 50000 + ms], ['198.51.100.80', 443], 1))
  return steps.sort((a, b) => a.ms - b.ms)
}

/** Situations with agents: what stands beside the capture. */
export const SCRIPTED: Record<string, { config: string; script: string }> = {
  'midcom-call': {
    config: `# Nothing is let out or in but what agents ask for.
inside: [10.0.0.0/8, "fd00::/8"]
firewall: {outbound: deny}
midcom:
  enabled: true
  wildcards: {external: true}
  agents:
    - {name: proxy, inside: [10.0.0.0/24, "fd00:1::/64"], max-lifetime: 10m}
    - {name: standby, acts-for: [proxy]}
`,
    script: `# A call through the box, as a SIP proxy would ask for it (RFC 5189 4.2), and a standby that takes over.
- {at: 0s, agent: standby, session: open}
- at: 1s
  agent: proxy
  do: reserve
  protocol: udp
  ports: 2
  parity: even
  lifetime: 5s
  as: media
  expect: ok
- at: 2s
  agent: proxy
  do: enable
  reservation: media
  internal: 10.0.0.5:5004+2 udp
  external: 198.51.100.7
  direction: inbound
  parity: same
  lifetime: 3s
  expect: ok
- {at: 2s, agent: proxy, do: enable, group: media, internal: "[fd00:1::5]:5004 udp", external: "2001:db8::/32", direction: inbound, lifetime: 2s, expect: ok}
- {at: 3s, agent: proxy, do: enable, internal: 10.0.0.6 tcp, external: 198.51.100.80:443, direction: outbound, lifetime: 1s, as: web, expect: ok}
- {at: 3s, agent: proxy, do: enable, internal: 10.9.9.9:1 udp, external: any, direction: inbound, expect: not-authorized-for-transaction}
- {at: 4s, agent: proxy, session: close}
- {at: 4s, agent: standby, do: lifetime, rule: media, lifetime: 2s, expect: ok}
- {at: 5s, agent: standby, do: status, rule: media, expect: ok}
- {at: 7s, agent: standby, do: list, expect: ok}
`,
  },
}

/** Options of a situation with agents. */
export function scriptOptions(name: string): string[] {
  return name in SCRIPTED ? ['--config', `pcaps/${name}-config.yaml`, '--script', `pcaps/${name}-script.yaml`] : []
}

export function encodeCapture(steps: readonly Step[]): Uint8Array {
  return encodePcap(steps.map(({ ms, bytes }) => ({ data: bytes, sec: START_SEC + Math.floor(ms / 1000), nsec: ms % 1000 * 1e6 })))
}

/** Replays `name` of `folder` and writes what left beside it. */
export function record(folder: string, into: string, name: string): void {
  execFileSync(process.execPath, [fileURLToPath(new URL('../src/app/cli/main.js', import.meta.url)), 'replay', join(folder, `${name}-in.pcap`),
    '--out-outside', join(into, `${name}-outside-out.pcapng`), '--out-inside', join(into, `${name}-inside-out.pcapng`),
    ...scriptOptions(name)])
}

if (process.argv[2] === '--write') {
  mkdirSync('pcaps', { recursive: true })
  for (const [name, make] of Object.entries(CAPTURES)) {
    writeFileSync(`pcaps/${name}-in.pcap`, encodeCapture(make()))
    for (const [what, text] of Object.entries(SCRIPTED[name] ?? {})) writeFileSync(`pcaps/${name}-${what}.yaml`, text)
    record('pcaps', 'pcaps', name)
  }
}
