/**
 * The smallest change that turns the verdict on a packet. Candidates are settings that the reason of a drop names, each with the
 * values that it may have instead; every one is tried on a box of its own that sees the same capture, and only what really turned
 * the verdict is told. Two settings are changed only where one is not enough.
 */
import { createRequire } from 'node:module'
import type * as Yaml from 'yaml'
import { maskWord, parsePrefix, print4, printPrefix } from '../../base/address.ts'
import type { DropReason } from '../../channel/reasons.ts'
import type { Config } from '../config/config.ts'
import { checkConfig } from '../config/load.ts'
import { inYaml, type Setting } from '../config/setting.ts'
import { setting, settings } from '../config/schema.ts'
import type { Explanation } from '../explain/explanation.ts'
import { REASON_TEXTS } from '../explain/reasons.ts'
import type { WrittenPacket } from './packet.ts'

/**
 * `after` is YAML; of a list of sections to which one was added, `added` is that one. `example`: an address in it that stands for
 * an inside host which the packet does not tell.
 */
export interface Edit { path: string; before: string; after: string; added: string | null; example: string | null }

export interface Turn {
  edits: Edit[]
  /** What becomes of the packet then. */
  explanation: Explanation
  /** By how much drops of the capture change: how far the change reaches beyond this packet. */
  captureDrops: { before: number; after: number } | null
}

/** Runs the packet on a box with other settings. */
export type Try = (config: Config) => Promise<{ explanation: Explanation; drops: number }>

/** Settings that stop what passes, those that reach least far first. */
const STOPPERS = [
  'firewall.rules', 'nat.filtering', 'nat.hairpinning', 'firewall.tcp-midstream', 'firewall.inbound6', 'firewall.outbound',
]
const MOST_TRIES = 40
const MOST_TOLD = 5

/**
 * @param text of the configuration, `folder` where the files lie that it names
 * @param inside the inside endpoint that the packet is for, where that is known
 * @param first what becomes of the packet as things are
 */
export async function findTurns(
  text: string, folder: string, packet: WrittenPacket, inside: End | null,
  first: { explanation: Explanation; drops: number; packets: number },
  attempt: Try,
): Promise<Turn[]> {
  const wanted = first.explanation.verdict === 'sent' ? 'dropped' : 'sent'
  const found: Turn[] = []
  let tries = 0
  let round: { edits: Edit[]; reason: DropReason | null }[] = [{ edits: [], reason: first.explanation.reason?.name ?? null }]
  for (let depth = 1; depth <= 2 && found.length === 0; depth++) {
    const next: typeof round = []
    for (const { edits, reason } of round) {
      const settled = new Set(edits.map(({ path }) => path))
      for (const edit of candidates(apply(text, edits), reason, packet, inside).filter(({ path }) => !settled.has(path))) {
        if (tries === MOST_TRIES) break
        // Another inside beside another setting is another box.
        if (depth > 1 && edit.path === 'inside') continue
        const all = [...edits, edit]
        const { config } = checkConfig(apply(text, all), folder)
        if (config === null) continue
        tries++
        const { explanation, drops } = await attempt(config)
        if (explanation.verdict === wanted) {
          found.push({ edits: all, explanation, captureDrops: first.packets === 0 ? null : { before: first.drops, after: drops } })
        } else if (explanation.reason !== null && explanation.reason.name !== reason) {
          next.push({ edits: all, reason: explanation.reason.name })
        }
      }
    }
    round = next
  }
  const reach = ({ captureDrops }: Turn) => captureDrops === null ? 0 : Math.abs(captureDrops.after - captureDrops.before)
  return found.map((turn, order) => ({ turn, order })).sort((a, b) => reach(a.turn) - reach(b.turn) || a.order - b.order)
    .map(({ turn }) => turn).slice(0, MOST_TOLD)
}

/** Edits that may turn a drop for that reason, or null: that may drop what passes. */
function candidates(text: string, reason: DropReason | null, packet: WrittenPacket, inside: End | null): Edit[] {
  const paths = reason === null ? STOPPERS : REASON_TEXTS[reason].settings
  const known = new Map(settings())
  return paths.flatMap((path) => {
    const node = known.get(path)!
    const now = setting(plain(text), path)
    if (path in ENTRIES) {
      const some = inside === null && path === 'nat.forwards' ? someHost(plain(text), packet) : null
      const entry = ENTRIES[path]!(packet, inside ?? some, plain(text), reason !== null)
      return addedTo(path, now as unknown[], entry, some?.address ?? null)
    }
    return alternatives(path, node, now, packet).filter((value) => inYaml(value) !== inYaml(now))
      .map((value) => ({ path, before: inYaml(now), after: inYaml(value), added: null, example: null }))
  })
}

/** An inside endpoint. `isSome`: one that stands for another. */
export interface End { address: string; port: number | null; isSome?: boolean }

/** Lists of sections, and the entry that is just wide enough for the packet. They come before what reaches further. */
const ENTRIES: Record<string, (packet: WrittenPacket, inside: End | null, settings: unknown, isDrop: boolean) => unknown> = {
  'firewall.rules': ({ protocol, src, srcPort, dst, dstPort }, inside, _settings, isDrop) => {
    const end = (address: string, port: number | null) => address + (port === null ? '' : ` ${port}`)
    const receiver = inside === null ? end(dst, dstPort) : end(inside.address, inside.port)
    // RFC 6733 4.3.1: `in` is from the inside, the terminal of that text, and `out` is towards it.
    return `${isDrop ? 'permit' : 'deny'} ${inside === null ? 'in' : 'out'} ${protocol} from ${end(src, srcPort)} to ${receiver}`
  },
  'nat.forwards': ({ protocol, src, dst, dstPort }, inside, settings) => {
    const name = protocol === 6 ? 'tcp' : protocol === 17 ? 'udp' : null
    const [pool] = setting(settings, 'nat.pool') as string[]
    if (name === null || inside === null || inside.port === null || inside.address.includes(':')) return null
    const outside = inside.isSome === true ? `${dst}:${dstPort}` : `${pool.replace(/[-/].*/, '')}:${inside.port}`
    return { protocol: name, outside, inside: `${inside.address}:${inside.port}`, from: [src] }
  },
}

/** For a packet to an outside address: the first host of the inside, which stands for the one that is meant. */
function someHost(settings: unknown, { dstPort, version }: WrittenPacket): End | null {
  const parsed = (setting(settings, 'inside') as string[]).map((text) => parsePrefix(text))
    .find((one) => one.ok && one.value.version === 4)
  if (parsed?.ok !== true || version !== 4 || dstPort === null) return null
  const { words: [word], prefixBits } = parsed.value
  return { address: print4(prefixBits < 31 ? word + 1 : word), port: dstPort, isSome: true }
}

function addedTo(path: string, now: unknown[], entry: unknown, example: string | null): Edit[] {
  if (entry === null) return []
  const added = typeof entry === 'string' ? entry : flowOf(entry as object)
  // JSON is YAML. What is first decides, where the order counts.
  return [{ path, before: `${now.length} entries`, after: JSON.stringify([entry, ...now]), added, example }]
}

/** A section in a line. */
function flowOf(section: object): string {
  const value = (one: unknown): string => Array.isArray(one) ? `[${one.map(value).join(', ')}]`
    : /^[\w./-]+$/.test(String(one)) ? String(one) : JSON.stringify(one)
  return `{${Object.entries(section).map(([key, one]) => `${key}: ${value(one)}`).join(', ')}}`
}

/** What a setting may be instead: every other choice, or more room. */
function alternatives(path: string, node: Setting, now: unknown, packet: WrittenPacket): unknown[] {
  if (path === 'inside') return insideWith(now as string[], packet)
  if (path === 'nat.pool') return poolBeside(now as string[], packet)
  if (node.type === 'boolean') return [now !== true]
  if (node.enum !== undefined) return node.enum
  const rule = node['x-value']
  if (rule?.kind === 'duration' || rule?.kind === 'count') return rule.max === undefined ? [] : [rule.max]
  if (rule?.kind === 'ports' && rule.min !== undefined && rule.max !== undefined) return [`${rule.min}-${rule.max}`]
  return []
}

/** One end as the whole inside network, or added to it: the subnet that hosts usually have. */
function insideWith(now: string[], { src, dst, version }: WrittenPacket): unknown[] {
  const bits = version === 4 ? 24 : 64
  const subnet = (address: string) => {
    const parsed = parsePrefix(`${address}/${bits}`)
    if (!parsed.ok) return []
    const { words } = parsed.value
    const cut = words.map((word, index) => word & maskWord(bits, index))
    return [printPrefix({ ...parsed.value, words: cut })]
  }
  return [...subnet(dst).map((one) => [...now, one]), ...subnet(src).map((one) => [...now, one]), subnet(src), subnet(dst)]
}

/** Another address, or one that is neither end of the packet. */
function poolBeside(now: string[], { dst, version }: WrittenPacket): unknown[] {
  const documentation = ['198.51.100.77', '192.0.2.77', '203.0.113.77']
  const other = documentation.find((address) => !now.some((range) => range.startsWith(address.slice(0, -2))))
  return version === 4 ? [[...now, dst], ...other === undefined ? [] : [[...now, other]]] : []
}

/* The text of a configuration. */

let yaml: typeof Yaml | null = null

function load(): typeof Yaml {
  yaml ??= createRequire(import.meta.url)('yaml') as typeof Yaml
  return yaml
}

function plain(text: string): unknown {
  return load().parse(text) as unknown
}

/** The text with those settings: what else stands in it stays. */
export function apply(text: string, edits: readonly Edit[]): string {
  if (edits.length === 0) return text
  const document = load().parseDocument(text)
  if (document.contents === null) document.contents = document.createNode({}) as never
  for (const { path, after } of edits) {
    const keys = path.split('.')
    // `nat:` with nothing below it is a section with all defaults.
    for (let n = 1; n < keys.length; n++) {
      if (document.getIn(keys.slice(0, n)) == null) document.setIn(keys.slice(0, n), document.createNode({}))
    }
    document.setIn(keys, document.createNode(load().parse(after)))
  }
  return document.toString()
}
