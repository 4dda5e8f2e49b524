/** What a replay did: as an object with a versioned schema (docs/report.schema.json), and as text for people. */
import { readCounters } from '../../channel/counters.ts'
import { DROP_REASONS } from '../../channel/reasons.ts'
import { digest } from '../config/config.ts'
import type { ReplayOptions, ReplayResult } from './replay.ts'

export const REPORT_SCHEMA = 'pinhole-replay-report/1'

export interface ReportContext {
  version: string
  configFile: string | null
}

export type Report = ReturnType<typeof createReport>

export function createReport(options: ReplayOptions, result: ReplayResult, context: ReportContext) {
  const { machine, stats, batches } = result
  const counters = readCounters(machine.counters)
  const both = (direction: string) => ({
    inside: { packets: counters[`${direction}-inside-packets`], bytes: counters[`${direction}-inside-bytes`] },
    outside: { packets: counters[`${direction}-outside-packets`], bytes: counters[`${direction}-outside-bytes`] },
  })
  const drops: Record<string, number> = {}
  for (const [name] of DROP_REASONS) {
    const packets = counters[`drop-${name}-packets`]
    if (packets > 0) drops[name] = packets
  }
  const perPacket = (percent: number) => batches.count === 0 ? 0 : batches.percentile(percent) / 100
  return {
    schema: REPORT_SCHEMA,
    version: context.version,
    digest: machine.plane.digest(),
    capture: {
      path: options.capture, format: stats.format, gzip: stats.gzip, streamBytes: stats.streamBytes,
      interfaces: result.interfaces.map(({ name, link }, id) => ({ id, name: name ?? null, link })),
      fault: result.fault,
    },
    settings: {
      configFile: context.configFile, configDigest: digest(options.config), seed: options.seed, loops: options.loops,
      pace: options.pace === 0 ? 'max' : `${options.pace}x`, preload: options.preload,
    },
    stopped: result.stopped,
    virtualMs: machine.plane.virtualMs(),
    packets: result.packets,
    in: both('in'),
    out: both('out'),
    dropped: { packets: counters['drop-packets'], bytes: counters['drop-bytes'] },
    drops,
    flows: {
      opened: counters['flows-opened'], expired: counters['flows-expired'], evicted: counters['flows-evicted'],
      current: counters['flows-current'], peak: counters['flows-peak'], capacity: options.config.limits.flows,
    },
    mappings: { opened: counters['mappings-opened'], closed: counters['mappings-closed'] },
    hairpinPackets: counters['hairpin-packets'],
    icmpErrors: {
      translated: counters['icmp-errors-translated'], originated: counters['icmp-errors-originated'],
      suppressed: counters['icmp-errors-suppressed'],
    },
    fragments: { held: counters['fragments-held'], released: counters['fragments-released'] },
    measured: {
      wallNs: Math.round(result.wallNs), engineNs: Math.round(result.engineNs),
      packetsPerSecond: Math.round(result.packets / (result.wallNs / 1e9)),
      nsPerPacket: {
        mean: result.packets === 0 ? 0 : Math.round(result.engineNs / result.packets * 100) / 100,
        p50: perPacket(50), p99: perPacket(99), max: batches.count === 0 ? 0 : batches.max / 100,
      },
      residentBytes: process.memoryUsage.rss(), tableBytes: machine.engine.tableBytes,
      poolBytes: machine.frames.pool.length,
    },
  }
}

/** The report for people. */
export function summary(report: Report): string {
  const { in: came, out, flows, measured, fragments, icmpErrors } = report
  const lines = [
    ['packets', `${grouped(report.packets)} in ${seconds(report.virtualMs)} of capture time`],
    ['in', side(came)],
    ['out', side(out)],
    ['dropped', quantity(report.dropped)],
    ...Object.entries(report.drops).sort(([, a], [, b]) => b - a).map(([name, count]) => ['', `${grouped(count)}  ${name}`]),
    ['flows', `${grouped(flows.opened)} opened, ${grouped(flows.expired)} expired, ${grouped(flows.evicted)} evicted, `
      + `peak ${grouped(flows.peak)} of ${grouped(flows.capacity)}`],
    ['mappings', `${grouped(report.mappings.opened)} opened, ${grouped(report.hairpinPackets)} packets hairpinned`],
    ['icmp errors', `${grouped(icmpErrors.translated)} translated, ${grouped(icmpErrors.originated)} originated, `
      + `${grouped(icmpErrors.suppressed)} suppressed by the rate limit`],
    ['fragments', `${grouped(fragments.held)} held, ${grouped(fragments.released)} released`],
    ['speed', `${grouped(measured.packetsPerSecond)} packets/s from file to end in ${(measured.wallNs / 1e9).toFixed(2)} s`],
    ['engine', `${measured.nsPerPacket.mean.toFixed(1)} ns/packet; by batch p50 ${measured.nsPerPacket.p50.toFixed(1)}, `
      + `p99 ${measured.nsPerPacket.p99.toFixed(1)}, max ${measured.nsPerPacket.max.toFixed(1)}`],
    ['memory', `${mebibytes(measured.residentBytes)} resident, ${mebibytes(measured.tableBytes)} flow tables, `
      + `${mebibytes(measured.poolBytes)} frame pool`],
    ['digest', report.digest],
  ]
  return lines.map(([label, text]) => `${label.padEnd(13)}${text}`).join('\n')
}

interface Quantity { packets: number; bytes: number }

function side({ inside, outside }: { inside: Quantity; outside: Quantity }): string {
  return `inside ${quantity(inside)}, outside ${quantity(outside)}`
}

function quantity({ packets, bytes }: Quantity): string {
  return `${grouped(packets)} packets, ${grouped(bytes)} bytes`
}

function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ',')
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(3)} s`
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}
