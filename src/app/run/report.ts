/** What a box did while it ran: as an object with a versioned schema (docs/run-report.schema.json), and as text for people. */
import { readCounters } from '../../channel/counters.ts'
import { digest } from '../config/config.ts'
import { counted, grouped, inColumns, mebibytes, seconds } from '../figures.ts'
import { firewallLines } from '../firewall/report.ts'
import { logLines, midcomReport, packetLines, packetReport } from '../replay/report.ts'
import type { BoxOptions, BoxResult } from './box.ts'

export const RUN_REPORT_SCHEMA = 'pinhole-run-report/1'

export type RunReport = ReturnType<typeof createRunReport>

interface RunContext { version: string; configFile: string | null }

export function createRunReport(options: BoxOptions, result: BoxResult, context: RunContext) {
  const { policy } = result
  const counters = readCounters(result.counters)
  return {
    schema: RUN_REPORT_SCHEMA,
    version: context.version,
    settings: {
      configFile: context.configFile, configDigest: digest(options.config), seed: options.seed, capture: options.capture,
      loops: Number.isFinite(options.loops) ? options.loops : null, pace: options.pace === 0 ? 'max' : `${options.pace}x`,
    },
    upMs: result.upMs,
    turns: result.turns,
    packets: result.packets,
    ...packetReport(counters, options.config.limits.flows),
    firewall: result.firewall,
    interfaces: result.interfaces,
    midcom: policy === null ? null : midcomReport(counters, policy),
    simco: result.simco === null ? null : { ...result.simco },
    snmp: result.snmp === null ? null : { ...result.snmp },
    pdp: result.pdp,
    mappingLog: result.mappingLog,
    residentBytes: process.memoryUsage.rss(), tableBytes: result.tableBytes, ruleBytes: result.ruleBytes,
    workers: result.workers,
  }
}

export function runSummary(report: RunReport): string {
  const { midcom, simco, snmp, pdp } = report
  const n = grouped
  const failed = Object.entries(midcom?.failures ?? {}).sort(([, a], [, b]) => b - a)
  return inColumns([
    ['up', `${seconds(report.upMs)}, ${counted(report.packets, 'packet')}, seed ${report.settings.seed}`],
    ...packetLines(report),
    ...firewallLines(report.firewall),
    ...interfaceLines(report.interfaces),
    ...midcom === null ? [] : [['midcom', `${counted(midcom.count, 'transaction')}; `
      + `${counted(midcom.rules.added, 'rule')} for packets, ${n(midcom.rules.current)} alive, `
      + `${n(midcom.rules.expired)} expired, ${n(midcom.rules.idle)} idle`]],
    ...failed.map(([reason, count]) => ['', `${grouped(count)}  ${reason}`]),
    ...simco === null ? [] : [['simco', `${counted(simco['in-connections'], 'connection')}, `
      + `${counted(simco['sessions-opened'], 'session')}, ${counted(simco['in-messages'], 'request')}, `
      + `${n(simco['out-negative-messages'])} refused, `
      + `${counted(simco['out-event-messages'], 'event')}`]],
    ...snmp === null ? [] : [['snmp', `${counted(snmp['in-messages'], 'message')}, ${counted(snmp['in-set-requests'], 'SET')}, `
      + `${n(snmp['out-error-responses'])} refused, ${counted(snmp['out-traps'] + snmp['out-informs'], 'notification')}`]],
    ...pdp === null ? [] : [['pdp', `${counted(pdp.questions, 'question')}, ${n(pdp.permits)} permitted, `
      + `${n(pdp.refusals)} refused, ${n(Object.values(pdp.failures).reduce((sum, one) => sum + one, 0))} without an answer`]],
    ...logLines(report.mappingLog),
    ['memory', [
      `${mebibytes(report.residentBytes)} resident`,
      ...report.tableBytes === null ? [] : [`${mebibytes(report.tableBytes)} flow tables`],
      ...report.ruleBytes === null ? [] : [`${mebibytes(report.ruleBytes)} rules`],
    ].join(', ')],
  ])
}

function interfaceLines(interfaces: RunReport['interfaces']): string[][] {
  if (interfaces === null) return []
  const n = grouped, { links, counters } = interfaces
  return [
    ...links.map(({ name, counters: one }) => [name, `${counted(one['received-frames'], 'frame')} received, `
      + `${n(one['ring-full-frames'])} lost before the box, ${n(one['sent-frames'])} sent, `
      + `${n(one['send-full-frames'])} lost behind it`]),
    ['neighbours', `${n(counters['neighbours-current'])} known, ${n(counters['neighbours-failed'])} did not answer; `
      + `${counted(counters['no-route-packets'], 'packet')} without a route`],
  ]
}
