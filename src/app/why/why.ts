/** `pinhole why`: what a box does with a packet, and what would have to change for it to do otherwise. */
import { createPrefixSet, parseAddress, type Prefix } from '../../base/address.ts'
import { protocolName } from '../../base/protocols.ts'
import type { Config } from '../config/config.ts'
import type { Explanation, Side } from '../explain/explanation.ts'
import { endpointText } from '../explain/parse-result.ts'
import { checkScript, type Step } from '../script/script.ts'
import type { CaptureFault } from '../../phy/capture-reader.ts'
import { openBox } from './box.ts'
import { parsePacket, type WrittenPacket } from './packet.ts'
import { findTurns, type End, type Turn } from './turn.ts'

export interface WhyOptions {
  packet: WrittenPacket
  side: Side | null
  laterMs: number
  config: Config
  /** Text of the configuration and the folder in which the files lie that it names. */
  text: string
  folder: string
  /** Its file; null: there is none. */
  file: string | null
  /** Instead of the configuration's; empty: as that has it. */
  inside: readonly Prefix[]
  seed: number
  after: string | null
  script: readonly Step[] | null
}

export interface Answer {
  explanation: Explanation
  /** Packets of the capture before it. */
  packets: number
  fault: CaptureFault | null
  /** Settings that turn the verdict, each tried; the one that reaches least far first. */
  turns: Turn[]
  /** A packet from inside after which this one passes as its answer; null: none was found. */
  answerTo: { packet: string; explanation: Explanation } | null
  /** A rule of a MIDCOM agent that lets it pass; null: none was found, or there are no agents. */
  rule: { command: string; explanation: Explanation } | null
}

export async function why(options: WhyOptions): Promise<Answer> {
  const { packet, side, laterMs, config, text, folder, seed, after, script } = options
  const open = (settings: Config, steps: readonly Step[] | null) => openBox({
    config: settings, rulesFile: options.file, seed, from: side, after,
    inside: options.inside.length > 0 ? options.inside : settings.inside,
    script: settings.midcom.enabled ? steps : null,
  })
  const box = await open(config, script)
  const { packets, drops, fault } = box
  const explanation = await box.send(packet.bytes, laterMs)
  const turns = await findTurns(text, folder, packet, insideEnd(), { explanation, drops, packets }, async (settings) => {
    const other = await open(settings, script)
    return { explanation: await other.send(packet.bytes, laterMs), drops: other.drops }
  })
  return { explanation, packets, fault, turns, answerTo: await findQuestion(), rule: await findRule(box.virtualMs()) }

  /** The inside endpoint that a packet from outside is for. */
  function insideEnd(): End | null {
    const { has4, has6 } = createPrefixSet(options.inside.length > 0 ? options.inside : config.inside)
    const parsed = parseAddress(packet.dst)
    if (!parsed.ok) return null
    const [a, b, c, d] = parsed.value.words
    if (parsed.value.version === 4 ? has4(a) : has6(a, b, c, d)) return { address: packet.dst, port: packet.dstPort }
    // An outside address stands for whom its mapping names.
    const match = /^(.*):(\d+)$/.exec(explanation.mapping?.inside ?? '')
    return match === null ? null : { address: match[1], port: packet.dstPort === null ? null : Number(match[2]) }
  }

  async function findQuestion(): Promise<Answer['answerTo']> {
    const end = explanation.verdict !== 'sent' && explanation.side === 'outside' ? insideEnd() : null
    const names: Record<number, string> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6' }
    if (end === null) return null
    const question = `${names[packet.protocol] ?? packet.protocol} ${endpointText(end.address, end.port)} > `
      + endpointText(packet.src, packet.srcPort) + (packet.icmpId === null ? '' : ` icmp-id ${packet.icmpId}`)
    const other = await open(config, script)
    const asked = await other.send(parsePacket(question).bytes, laterMs, 'inside')
    if (asked.verdict !== 'sent') return null
    const now = await other.send(packet.bytes, 0)
    return now.verdict === 'sent' ? { packet: question, explanation: now } : null
  }

  async function findRule(atMs: number): Promise<Answer['rule']> {
    const end = explanation.verdict === 'sent' ? null : explanation.side === 'outside' ? insideEnd()
      : { address: packet.src, port: packet.srcPort }
    const [agent] = config.midcom.agents
    if (end === null || agent === undefined || !config.midcom.enabled || (script?.at(-1)?.atMs ?? 0) > atMs) return null
    const inward = explanation.side === 'outside'
    const external = endpointText(inward ? packet.src : packet.dst, inward ? packet.srcPort : packet.dstPort)
    const internal = endpointText(end.address, end.port), direction = inward ? 'inbound' : 'outbound'
    const tuple = `${internal} ${packet.protocol}`
    const step = { at: `${atMs}ms`, agent: agent.name, do: 'enable', internal: tuple, external, direction }
    const { steps } = checkScript(JSON.stringify([step]))
    if (steps === null) return null
    const other = await open(config, [...script ?? [], ...steps])
    const now = await other.send(packet.bytes, laterMs)
    const protocol = protocolName(packet.protocol) ?? packet.protocol
    const command = `pinhole ctl enable ${internal} ${external} --protocol ${protocol} --direction ${direction}`
    return now.verdict === 'sent' ? { command, explanation: now } : null
  }
}
