import assert from 'node:assert/strict'
import { test } from 'node:test'
import { summary, type Report } from './report.ts'

const report: Report = {
  schema: 'pinhole-replay-report/1', version: '1.2.3', digest: '0123456789abcdef',
  capture: { path: 'x.pcap', format: 'pcap', gzip: false, streamBytes: 1, interfaces: [], fault: null },
  settings: { configFile: null, configDigest: '', seed: 1, loops: 1, pace: 'max', preload: false, scriptFile: null },
  stopped: false, virtualMs: 61_234, packets: 1_234_567,
  in: { inside: { packets: 1000, bytes: 1_000_000 }, outside: { packets: 999, bytes: 12 } },
  out: { inside: { packets: 0, bytes: 0 }, outside: { packets: 7, bytes: 70 } },
  dropped: { packets: 1111, bytes: 2222 }, drops: { arp: 1, multicast: 1100, 'no-mapping': 10 },
  flows: { opened: 5, expired: 4, evicted: 3, current: 2, peak: 1, capacity: 262_144 }, mappings: { opened: 6, closed: 5 }, mappingLog: null, ports: { waiting: 0, letGoEarly: 0, blocks: 0 }, hairpinPackets: 8,
  icmpErrors: { translated: 1, originated: 2, suppressed: 3 }, fragments: { held: 9, released: 8 },
  tcp: { halfOpenEvicted: 0, synsHeld: 0, synsSolicited: 0, synsUnheld: 0, outOfWindowPassed: 0, challengesExpected: 0 }, firewall: null, midcom: null,
  measured: {
    wallNs: 2_345_000_000, engineNs: 1, packetsPerSecond: 1_000_000, nsPerPacket: { mean: 55.55, p50: 50, p99: 99.94, max: 1000 },
    residentBytes: 3 * 2 ** 20, tableBytes: 2 ** 19, poolBytes: 0,
  },
}

test('report: the summary has every figure, grouped by thousands, with its unit', () => {
  assert.deepEqual(summary(report).split('\n'), [
    'packets      1,234,567 in 61.234 s of capture time',
    'in           inside 1,000 packets, 1,000,000 bytes, outside 999 packets, 12 bytes',
    'out          inside 0 packets, 0 bytes, outside 7 packets, 70 bytes',
    'dropped      1,111 packets, 2,222 bytes',
    '             1,100  multicast',
    '             10  no-mapping',
    '             1  arp',
    'flows        5 opened, 4 expired, 3 evicted, 2 alive, peak 1 of 262,144',
    'mappings     6 opened, 8 packets hairpinned',
    'icmp errors  1 translated, 2 originated, 3 suppressed by the rate limit',
    'fragments    9 held, 8 released',
    'tcp          0 half-open evicted; 0 unsolicited SYNs held, 0 of them solicited later, 0 not held',
    'speed        1,000,000 packets/s from file to end in 2.35 s',
    'engine       55.5 ns/packet; by batch p50 50.0, p99 99.9, max 1000.0',
    'memory       3.0 MiB resident, 0.5 MiB flow tables, 0.0 MiB frame pool',
    'digest       0123456789abcdef',
  ])
})

test('report: nothing dropped is said in one line', () => {
  const lines = summary({ ...report, dropped: { packets: 0, bytes: 0 }, drops: {} }).split('\n')
  assert.equal(lines[3], 'dropped      0 packets, 0 bytes')
  assert.match(lines[4], /^flows/)
})
