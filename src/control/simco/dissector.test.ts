/**
 * docs/simco.lua, the dissector for Wireshark, against the vectors: a capture of them all goes through tshark, which must see the
 * same fields, nothing malformed in good messages, and something malformed in each bad one.
 */
import test from 'node:test'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { JsonAttribute, JsonMessage } from './json.ts'
import { buildPacket } from '../../wire/build.ts'

interface Vectors {
  vectors: { description: string; hex: string; message: JsonMessage }[]
  bad: { description: string; hex: string; code: string }[]
}
const { vectors, bad } = JSON.parse(readFileSync('docs/simco-vectors.json', 'utf8')) as Vectors
const hasTshark = spawnSync('tshark', ['-v']).status === 0
const absent = hasTshark ? false : 'no tshark on PATH: nobody has run the dissector docs/simco.lua'

/** A classic pcap of raw IP packets (link type 101). */
function pcap(packets: Uint8Array[]): Buffer {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(0xa1b2c3d4, 0)
  header.writeUInt16LE(2, 4)
  header.writeUInt16LE(4, 6)
  header.writeUInt32LE(262_144, 16)
  header.writeUInt32LE(101, 20)
  const records = packets.flatMap((packet, i) => {
    const record = Buffer.alloc(16)
    record.writeUInt32LE(1_700_000_000 + i, 0)
    record.writeUInt32LE(packet.length, 8)
    record.writeUInt32LE(packet.length, 12)
    return [record, packet]
  })
  return Buffer.concat([header, ...records])
}

/** A connection of its own for each list of segments, from the middlebox or to it. */
function connections(all: Uint8Array[][]): Uint8Array[] {
  return all.flatMap((segments, i) => {
    let seq = 1000
    return segments.map(payload => {
      const packet = buildPacket({
        src: '192.0.2.10', dst: '198.51.100.9', proto: 'tcp', srcPort: 20_000 + i, dstPort: 7626, tcpFlags: 0x18, seq, payload,
      })
      seq += payload.length
      return packet
    })
  })
}

function tshark(packets: Uint8Array[], args: string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'simco-'))
  try {
    const file = join(folder, 'simco.pcap')
    writeFileSync(file, pcap(packets))
    const { stdout, stderr, status } = spawnSync('tshark', ['-n', '-X', 'lua_script:docs/simco.lua', '-r', file, ...args],
      { encoding: 'utf8', maxBuffer: 100_000_000 })
    assert.equal(status, 0, stderr)
    // tshark says on standard output or error what goes wrong in Lua, and goes on.
    assert.doesNotMatch(stderr + stdout, /lua error|simco[.]lua:\d+/i)
    return stdout.split('\n').slice(0, -1)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const FIELDS = [
  'simco.type', 'simco.length', 'simco.tid', 'simco.attribute', 'simco.version.major', 'simco.version.minor', 'simco.challenge', 'simco.token',
  'simco.pid', 'simco.gid', 'simco.lifetime', 'simco.owner', 'simco.capabilities.max_lifetime', 'simco.tuple.form', 'simco.tuple.ip_version',
  'simco.tuple.prefix_length', 'simco.tuple.protocol', 'simco.tuple.location', 'simco.tuple.port', 'simco.tuple.port_range',
  'simco.tuple.ipv4', 'simco.tuple.ipv6', 'simco.prr.nat_mode', 'simco.prr.port_parity', 'simco.prr.inside_ip_version',
  'simco.prr.outside_ip_version', 'simco.prr.protocol', 'simco.prr.port_range', 'simco.per.port_parity', 'simco.per.direction',
] as const
const CODES = ['version', 'challenge', 'token', 'capabilities', 'pid', 'gid', 'lifetime', 'owner', 'tuple', 'prr-set', 'per-set']
const hex4 = (number: number) => '0x' + number.toString(16).padStart(4, '0')

/** What tshark should print of one attribute, by field. */
function expectedOf(a: JsonAttribute): Partial<Record<(typeof FIELDS)[number], string>> {
  switch (a.attribute) {
    case 'version': return { 'simco.version.major': `${a.major}`, 'simco.version.minor': `${a.minor}` }
    case 'challenge': return a.octets === '' ? {} : { 'simco.challenge': a.octets }
    case 'token': return a.octets === '' ? {} : { 'simco.token': a.octets }
    case 'capabilities': return { 'simco.capabilities.max_lifetime': `${a.maxLifetimeSec}` }
    case 'pid': return { 'simco.pid': `${a.value}` }
    case 'gid': return { 'simco.gid': `${a.value}` }
    case 'lifetime': return { 'simco.lifetime': `${a.seconds}` }
    case 'owner': return a.text === '' ? {} : { 'simco.owner': a.text }
    case 'tuple': return {
      'simco.tuple.form': a.form === 'full' ? '0' : '1', 'simco.tuple.ip_version': `${a.ipVersion}`,
      'simco.tuple.prefix_length': `${a.prefixLength}`, 'simco.tuple.protocol': `${a.protocol}`, 'simco.tuple.location': `${a.location}`,
      ...a.form === 'full' ? {
        'simco.tuple.port': `${a.port}`, 'simco.tuple.port_range': `${a.portRange}`,
        [a.ipVersion === 1 ? 'simco.tuple.ipv4' : 'simco.tuple.ipv6']: a.address!,
      } : {},
    }
    case 'prr-set': return {
      'simco.prr.nat_mode': `${a.natMode}`, 'simco.prr.port_parity': `${a.portParity}`, 'simco.prr.inside_ip_version': `${a.insideIpVersion}`,
      'simco.prr.outside_ip_version': `${a.outsideIpVersion}`, 'simco.prr.protocol': `${a.protocol}`, 'simco.prr.port_range': `${a.portRange}`,
    }
    default: return { 'simco.per.port_parity': `${a.portParity}`, 'simco.per.direction': `${a.direction}` }
  }
}

test('tshark sees every field of every vector, and nothing malformed', { skip: absent }, () => {
  const packets = connections(vectors.map(({ hex }) => [Buffer.from(hex, 'hex')]))
  const lines = tshark(packets, ['-T', 'fields', '-E', 'occurrence=a', '-E', 'aggregator=;', ...FIELDS.flatMap(field => ['-e', field]),
    '-e', 'simco.malformed', '-e', 'simco.undefined', '-e', '_ws.malformed'])
  assert.equal(lines.length, vectors.length)
  vectors.forEach(({ description, hex, message }, i) => {
    const found = lines[i]!.split('\t'), all: Partial<Record<string, string[]>> = {
      'simco.type': [message.type], 'simco.length': [`${hex.length / 2 - 8}`], 'simco.tid': [`${message.tid}`],
      'simco.attribute': message.attributes.map(a => hex4(1 + CODES.indexOf(a.attribute))),
    }
    for (const attribute of message.attributes) {
      for (const [field, value] of Object.entries(expectedOf(attribute))) (all[field] ??= []).push(value)
    }
    FIELDS.forEach((field, n) => {
      assert.equal(found[n] ?? '', (all[field] ?? []).join(';'), `${description}: ${field}`)
    })
    assert.deepEqual(found.slice(FIELDS.length).join(''), '', `${description}: malformed or undefined`)
  })
})

test('tshark marks every bad vector as malformed', { skip: absent }, () => {
  // The payload that is announced as too long has to come for anybody to see it.
  const whole = bad.map(({ hex }) => {
    const bytes = Buffer.from(hex, 'hex'), announced = 8 + bytes.readUInt16BE(2)
    return Buffer.concat([bytes, Buffer.alloc(Math.max(0, announced - bytes.length))])
  })
  const segments = whole.map(bytes => bytes.length < 1400 ? [bytes] : Array.from({ length: Math.ceil(bytes.length / 1400) },
    (_, i) => bytes.subarray(1400 * i, 1400 * (i + 1))))
  const lines = tshark(connections(segments), ['-Y', 'simco', '-T', 'fields', '-e', 'simco.malformed', '-e', 'tcp.srcport'])
  bad.forEach(({ description }, i) => {
    const marked = lines.some(line => line.endsWith(`\t${20_000 + i}`) && !line.startsWith('\t'))
    assert.ok(marked, description)
  })
})

test('tshark puts messages together that are cut anywhere, and parts those that share a segment', { skip: absent }, () => {
  const stream = Buffer.from(vectors.map(({ hex }) => hex).join(''), 'hex'), segments: Buffer[] = []
  for (let at = 0, bytes = 1; at < stream.length; at += bytes, bytes = bytes * 5 % 67 + 1) segments.push(stream.subarray(at, at + bytes))
  const lines = tshark(connections([segments]), ['-Y', 'simco.tid', '-T', 'fields', '-E', 'aggregator=;', '-e', 'simco.tid', '-e', 'simco.malformed'])
  const tids = lines.flatMap(line => line.split('\t')[0]!.split(';'))
  assert.deepEqual(tids, vectors.map(({ message }) => `${message.tid}`))
  assert.ok(lines.every(line => (line.split('\t')[1] ?? '') === ''))
})

test('a line says of a message what it asks for or grants: protocol, addresses, ports and how many', { skip: absent }, () => {
  const tuple = (protocol: string, location: string, port: string, range: string, address: string) => `0009000c 0120${protocol}${location} ${port}${range} ${address}`
  const per = `01120030 00000001 000b0004 00010000 ${tuple('11', '00', '138c', '0002', '0a000005')} ${tuple('11', '03', '0000', '0001', 'c6336407')} 00070004 0000012c`
  const prr = '01110010 00000002 000a0004 4006ffff 00070004 0000003c'
  const octets = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')
  const lines = tshark(connections([[octets(per + prr)], [octets('01220000 00000003')]]), ['-T', 'fields', '-e', '_ws.col.Info'])
  assert.match(lines[0]!, /^PER request 1 \(\w+, A0 udp 10\.0\.0\.5\/32:5004\+2, A3 udp 198\.51\.100\.7\/32:\*, 300 s\); PRR request 2 \(tcp, all ports, 60 s\)$/)
  assert.match(lines[1]!, /^PRL request 3$/)
})

test('undefined values and refusals are remarked upon, and nothing else is', { skip: absent }, () => {
  const hex = ['0112002000000001 000b000401090000 0009000411001100 0009000411001109 0007000400000001', '0343000000000002', '0122000000000003']
  const lines = tshark(connections([[Buffer.from(hex.join('').replaceAll(' ', ''), 'hex')]]), ['-V'])
  const text = lines.join('\n')
  for (const expected of ['port parity 1 is undefined', 'direction 9 is undefined', 'location 9 is undefined', 'specified policy rule does not exist']) {
    assert.ok(text.includes(expected), expected)
  }
  assert.doesNotMatch(text, /Malformed/)
})
