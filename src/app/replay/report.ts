/** What a replay did: as an object with a versioned schema (docs/report.schema.json), and as text for people. */
import { readCounters } from '../../channel/counters.ts'
import type { PolicyStatistics } from '../../policy/api.ts'
import { DROP_REASONS } from '../../channel/reasons.ts'
import { digest } from '../config/config.ts'
import { counted, grouped, inColumns, mebibytes, quantity, seconds } from '../figures.ts'
import { firewallLines, firewallReport } from '../firewall/report.ts'
import type { ScriptEvent, StepResult } from '../script/player.ts'
import type { ReplayOptions, ReplayResult } from './replay.ts'

export const REPORT_SCHEMA = 'pinhole-replay-report/1'

export interface ReportContext {
  version: string
  configFile: string | null
  scriptFile: string | null
}

export type Report = ReturnType<typeof createReport>

export function createReport(options: ReplayOptions, result: ReplayResult, context: ReportContext) {
  const { machine, stats, batches } = result
  const counters = readCounters(machine.counters)
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
      pace: options.pace === 0 ? 'max' : `${options.pace}x`, preload: options.preload, scriptFile: context.scriptFile,
    },
    stopped: result.stopped,
    virtualMs: machine.plane.virtualMs(),
    packets: result.packets,
    ...packetReport(counters, options.config.limits.flows),
    firewall: replayFirewall(result, counters),
    midcom: result.script === null || result.script.statistics === null ? null : {
      unmet: result.script.results.filter(({ met }) => !met).length,
      transactions: [...result.script.results], events: [...result.script.events],
      ...midcomReport(counters, result.script.statistics),
    },
    mappingLog: result.mappingLog,
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

/** Hits of the rules that counted last, and each replacement of rules by the script. */
function replayFirewall({ machine, script }: ReplayResult, counters: Record<string, number>) {
  const report = firewallReport(machine.engine, counters)
  return report === null ? null : { ...report, replaced: [...script?.replacements ?? []] }
}

/** What became of packets, out of the counters. */
export function packetReport(counters: Record<string, number>, flowCapacity: number) {
  const both = (direction: string) => ({
    inside: { packets: counters[`${direction}-inside-packets`], bytes: counters[`${direction}-inside-bytes`] },
    outside: { packets: counters[`${direction}-outside-packets`], bytes: counters[`${direction}-outside-bytes`] },
  })
  const drops: Record<string, number> = {}
  for (const [name] of DROP_REASONS) {
    const packets = counters[`drop-${name}-packets`]
    if (packets > 0) drops[name] = packets
  }
  return {
    in: both('in'),
    out: both('out'),
    dropped: { packets: counters['drop-packets'], bytes: counters['drop-bytes'] },
    drops,
    flows: {
      opened: counters['flows-opened'], expired: counters['flows-expired'], evicted: counters['flows-evicted'],
      current: counters['flows-current'], peak: counters['flows-peak'], capacity: flowCapacity,
    },
    mappings: { opened: counters['mappings-opened'], closed: counters['mappings-closed'] },
    ports: {
      waiting: counters['ports-held-current'], letGoEarly: counters['ports-held-early'], blocks: counters['port-blocks-current'],
    },
    hairpinPackets: counters['hairpin-packets'],
    icmpErrors: {
      translated: counters['icmp-errors-translated'], originated: counters['icmp-errors-originated'],
      suppressed: counters['icmp-errors-suppressed'],
    },
    fragments: { held: counters['fragments-held'], released: counters['fragments-released'] },
    tcp: {
      halfOpenEvicted: counters['half-open-evicted'], synsHeld: counters['syns-held'], synsSolicited: counters['syns-solicited'],
      synsUnheld: counters['syns-unheld'], outOfWindowPassed: counters['tcp-out-of-window-passed'],
      challengesExpected: counters['tcp-challenges-expected'],
    },
  }
}

/** What agents did, in numbers. */
export function midcomReport(counters: Record<string, number>, statistics: PolicyStatistics) {
  const { transactions: count, failures, expired, idle, rules, groups, boundPorts, boundAddresses } = statistics
  return {
    count, failures: Object.fromEntries(Object.entries(failures).sort(([a], [b]) => a < b ? -1 : 1)) as Record<string, number>,
    rules: { added: counters['rules-added'], current: rules, expired, idle }, groups, boundPorts, boundAddresses,
    flows: { opened: counters['rule-flows-opened'], ended: counters['rule-flows-ended'] },
  }
}

/** Below, the figures are those of a cold start and not of the engine. */
const LEAST_MEASURED_PACKETS = 10_000

/** The report for people. */
export function summary(report: Report): string {
  const { measured } = report
  const lines = [
    ...report.stopped ? [['interrupted', 'before the end of the capture; all figures are of what came before']] : [],
    ['packets', `${grouped(report.packets)} in ${seconds(report.virtualMs)} of capture time`],
    ...packetLines(report),
    ...firewallLines(report.firewall),
    ...(report.firewall?.replaced ?? []).map(({ atMs, file, rules, flowsEnded }) =>
      ['', `${seconds(atMs)}  ${file}: ${counted(rules, 'rule')} from here on, ${counted(flowsEnded, 'flow')} ended`]),
    ...agents(report),
    ...logLines(report.mappingLog),
    ...speed(report),
    ['memory', `${mebibytes(measured.residentBytes)} resident, ${mebibytes(measured.tableBytes)} flow tables, `
      + `${mebibytes(measured.poolBytes)} frame pool`],
    ['digest', report.digest],
  ]
  const advice = hint(report)
  if (advice !== null) lines.push(['hint', advice])
  return inColumns(lines)
}

export function logLines(log: { written: number; lost: number } | null): string[][] {
  return log === null ? [] : [['mapping log', `${counted(log.written, 'record')}, ${grouped(log.lost)} lost`]]
}

export function packetLines(report: ReturnType<typeof packetReport>): string[][] {
  const { in: came, out, flows, fragments, icmpErrors, tcp } = report
  return [
    ['in', side(came)],
    ['out', side(out)],
    ['dropped', quantity(report.dropped)],
    ...Object.entries(report.drops).sort(([, a], [, b]) => b - a).map(([name, count]) => ['', `${grouped(count)}  ${name}`]),
    ['flows', `${grouped(flows.opened)} opened, ${grouped(flows.expired)} expired, ${grouped(flows.evicted)} evicted, `
      + `${grouped(flows.current)} alive, peak ${grouped(flows.peak)} of ${grouped(flows.capacity)}`],
    ['mappings', `${grouped(report.mappings.opened)} opened, ${counted(report.hairpinPackets, 'packet')} hairpinned`],
    ['icmp errors', `${grouped(icmpErrors.translated)} translated, ${grouped(icmpErrors.originated)} originated, `
      + `${grouped(icmpErrors.suppressed)} suppressed by the rate limit`],
    ['fragments', `${grouped(fragments.held)} held, ${grouped(fragments.released)} released`],
    ['tcp', `${grouped(tcp.halfOpenEvicted)} half-open evicted; ${counted(tcp.synsHeld, 'unsolicited SYN')} held, `
      + `${grouped(tcp.synsSolicited)} of them solicited later, ${grouped(tcp.synsUnheld)} not held`],
  ]
}

/** Every step of the script with what came of it, and everything that agents were told unasked, in order of time. */
function agents({ midcom }: Report): string[][] {
  if (midcom === null) return []
  const { transactions, events, unmet, rules, flows } = midcom
  const lines = [
    ...transactions.map((step) => ({ atMs: step.atMs, text: stepText(step) })),
    ...events.map((event) => ({ atMs: event.atMs, text: eventText(event) })),
  ].sort((a, b) => a.atMs - b.atMs)
  return [
    ['midcom', `${counted(transactions.length, 'step')}${unmet > 0 ? `, ${grouped(unmet)} NOT as expected` : ''}; `
      + `${counted(rules.added, 'rule')} for packets, ${grouped(rules.expired)} expired, ${grouped(rules.idle)} idle; `
      + `${counted(flows.opened, 'flow')} admitted`],
    ...lines.map(({ atMs, text }) => ['', `${seconds(atMs)}  ${text}`]),
  ]
}

function stepText(step: StepResult): string {
  const { agent, do: action, as, reason, expected, met, rule, group, lifetimeSec } = step
  const { internal, inside, outside, external, entries, traffic, ended } = step
  const head = `${agent} ${action}${as === null ? '' : ` ${as}`}: ${reason ?? 'ok'}${met ? '' : ` (expected ${expected})`}`
  const promised = [
    rule === null ? '' : `rule ${rule}`, group === null ? '' : `group ${group}`, lifetimeSec === null ? '' : `${lifetimeSec} s`,
    internal === null ? '' : `from ${internal}`, outside === null ? '' : `outside ${outside}`,
    inside === null || inside === external ? '' : `inside ${inside}`, external === null ? '' : `to ${external}`,
    entries === null ? '' : `[${entries.map(({ id, owner }) => `${id} of ${owner}`).join(', ')}]`,
    traffic === null ? '' : quantity(traffic),
    ended === null ? '' : `ended at ${seconds(ended.atMs)}${because(ended.cause)}`,
  ]
  return [head, ...promised.filter((part) => part !== '')].join(', ')
}

function eventText({ agent, kind, id, lifetimeSec, cause }: ScriptEvent): string {
  if (kind === 'session') return `${agent} is told: session ended, ${cause}`
  return `${agent} is told: ${kind} ${id} ${lifetimeSec === 0 ? 'ended' : `lives ${lifetimeSec} s`}${because(cause)}`
}

function because(cause: string | null): string {
  return cause === null ? '' : `, ${cause}`
}

function speed({ packets, measured }: Report): string[][] {
  const time = `from file to end in ${(measured.wallNs / 1e9).toFixed(2)} s`
  const tooFew = 'too few packets to measure'
  if (packets < LEAST_MEASURED_PACKETS) return [['speed', `${tooFew}; ${time}`], ['engine', tooFew]]
  const { mean, p50, p99, max } = measured.nsPerPacket
  return [
    ['speed', `${grouped(measured.packetsPerSecond)} packets/s ${time}`],
    ['engine', `${mean.toFixed(1)} ns/packet; by batch p50 ${p50.toFixed(1)}, p99 ${p99.toFixed(1)}, max ${max.toFixed(1)}`],
  ]
}

const HINTS: Record<string, string> = {
  'outside-to-outside': 'most packets have both ends outside: say which network is inside, such as --inside 198.51.100.0/24',
  'inside-to-inside': 'most packets have both ends inside: name only the network behind the box, such as --inside 192.168.1.0/24',
  'martian-source': 'most packets come from addresses that cross no router, such as 127.0.0.1 in a capture of lo; --inside cannot '
    + 'change that',
  'link-unsupported': 'most packets are of a link type, or in an encapsulation, that is not read; README.md names those that are',
}

/** What to do when most of the capture stayed on one side, or null. */
function hint({ packets, drops }: Report): string | null {
  const found = Object.keys(HINTS).map((name) => ({ name, count: drops[name] ?? 0 })).sort((a, b) => b.count - a.count)
  const all = found.reduce((sum, { count }) => sum + count, 0)
  return all * 2 > packets ? HINTS[found[0].name] : null
}

interface Quantity { packets: number; bytes: number }

function side({ inside, outside }: { inside: Quantity; outside: Quantity }): string {
  return `inside ${quantity(inside)}, outside ${quantity(outside)}`
}
