/** `pinhole why`: the command line of the question. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import type { Prefix } from '../../base/address.ts'
import { readDocument } from '../config/document.ts'
import { defaultConfig, folderOf, loadConfig, readText } from '../config/load.ts'
import { parseDuration } from '../config/quantity.ts'
import { decisionRows } from '../explain/text.ts'
import type { Explanation, Side } from '../explain/explanation.ts'
import { counted } from '../figures.ts'
import { explainFault } from '../filter/parse.ts'
import { loadScript } from '../script/script.ts'
import { PacketError, parsePacket, type WrittenPacket } from '../why/packet.ts'
import type { Edit, Turn } from '../why/turn.ts'
import { why, type Answer } from '../why/why.ts'
import { Failure, STATUS } from './status.ts'
import { prefixes, seed } from './values.ts'

interface WhyFlags {
  config?: string
  after?: string
  script?: string
  inside: Prefix[]
  from?: Side
  later: number
  seed: number
  json?: true
}

export function registerWhy(program: Command): void {
  program.command('why')
    .summary('say what the box would do with a packet, and what would turn the verdict')
    .description('Say step by step what the box would do with a packet, and the smallest change of settings, or the rule, '
      + 'that would turn the verdict. Each change that is told was tried, on a box that has seen the same packets.')
    .argument('<packet...>', 'as in "udp 10.0.0.5:5004 > 203.0.113.7:6000"; quoted, for a shell takes > for itself')
    .option('--config <file>', 'YAML configuration (pinhole init prints one)')
    .option('--after <capture>', 'let the box see the packets of a capture before')
    .option('--script <file>', 'transactions of MIDCOM agents at times of the capture (YAML); midcom.enabled must be true')
    .option('--inside <prefix>', 'prefix of the inside network instead of those of the configuration, repeatable', prefixes, [])
    .addOption(new Option('--from <side>', 'side that it comes from (default: its source address decides)')
      .choices(['inside', 'outside']))
    .option('--later <time>', 'how long after the last packet of the capture, or after the beginning, it comes, as in 5m', later, 0)
    .option('--seed <n>', 'seed of all random choices, 0 … 2^32-1', seed, 1)
    .option('--json', 'print JSON instead')
    .addHelpText('after', `
A packet is its protocol (udp, tcp, icmp, icmp6, gre, a number …), its source, > and its destination, and then any of:
  ttl N  tos N  id N  df  len BYTES  fragment OFFSET[+]  checksum wrong|zero  header-checksum wrong|zero
  tcp: flags SA (or [S.], syn,ack; default S)  seq N  ack N  win N
  icmp, icmp6: type N or a name such as echo-reply (default echo-request)  code N  icmp-id N  seq N
  ICMP errors: mtu N  about PACKET

Examples:
  pinhole why "udp 10.0.0.5:5004 > 203.0.113.7:6000"
  pinhole why "udp 203.0.113.7:6000 > 10.0.0.5:5004" --config pinhole.yaml --after capture.pcap
  pinhole why "tcp [2001:db8::1]:443 > [fd00::5]:5000 flags SA" --from outside
  pinhole why "icmp 192.0.2.1 > 10.0.0.5 unreachable code 4 mtu 1400 about udp 10.0.0.5:5004 > 198.51.100.7:6000"

Exit status 0: it passes. 1: it is dropped, or held. All other statuses tell of errors.`)
    .action(run)
  const option = program.commands.at(-1)?.options.find(({ long }) => long === '--later')
  if (option !== undefined) option.defaultValueDescription = '0s'
}

async function run(words: string[], flags: WhyFlags): Promise<void> {
  const written = packet(words.join(' '))
  const file = flags.config
  const config = file === undefined ? defaultConfig() : loadConfig(file)
  // Standard input can be read once only, and what it says is needed again to be changed.
  if (file === '-') throw new Failure(STATUS.usage, '--config takes a file here, not -')
  const text = file === undefined ? '' : readText(file)
  const script = flags.script === undefined ? null : loadScript(flags.script)
  if (script !== null && !config.midcom.enabled) {
    throw new Failure(STATUS.usage, `${flags.script} needs a configuration with midcom.enabled: true and its agents`)
  }
  const answer = await why({
    packet: written, side: flags.from ?? null, laterMs: flags.later, config, text, folder: folderOf(file ?? '.'),
    file: file ?? null, inside: flags.inside, seed: flags.seed, after: flags.after ?? null, script,
  })
  process.stdout.write(flags.json === true ? JSON.stringify(inJson(written, answer), null, 2) + '\n'
    : answerText(written, answer, flags, text))
  if (answer.explanation.verdict !== 'sent') process.exitCode = STATUS.found
  if (answer.fault !== null) {
    process.stderr.write(`pinhole: ${flags.after}: byte ${answer.fault.offset}: ${answer.fault.reason}\n`)
    process.exitCode = STATUS.input
  }
}

function inJson({ text }: WrittenPacket, { explanation, packets, turns, answerTo, rule }: Answer): unknown {
  return {
    schema: 'pinhole-why/1', packet: text, passes: explanation.verdict === 'sent', capturePackets: packets, explanation,
    turns: turns.map(({ edits, captureDrops, explanation: then }) => ({ edits, captureDrops, then })), answerTo, rule,
  }
}

function answerText({ text: packetText }: WrittenPacket, answer: Answer, { after }: WhyFlags, text: string): string {
  const { explanation, packets, turns, answerTo, rule } = answer
  const state = after === undefined ? 'a new box' : `a box that has seen the ${counted(packets, 'packet')} of ${after}`
  const lines = [`${packetText}`, `from ${explanation.side}, to ${state}`, '']
  if (explanation.entered !== null) lines.push(`  entered   re-addressed by the replay's outside world: ${explanation.entered}`)
  lines.push(...decisionRows(explanation), '')
  const passes = explanation.verdict === 'sent'
  const option = (title: string, what: string, then: Explanation) => {
    lines.push(title, `  ${what}`, `  then      ${outcome(then)}`, '')
  }
  if (answerTo !== null) option('It passes as an answer, after a packet from inside:', answerTo.packet, answerTo.explanation)
  if (rule !== null) option('It passes with a rule of an agent:', rule.command, rule.explanation)
  if (turns.length > 0) {
    lines.push(`It ${passes ? 'is dropped' : 'passes'} with (the change that reaches least far first):`)
    for (const turn of turns) lines.push(...turnLines(turn, text))
  } else if (answerTo === null && rule === null) {
    lines.push(passes ? 'No setting was found that would stop it.' : 'No setting was found that lets it pass.')
  }
  return lines.join('\n').trimEnd() + '\n'
}

function outcome({ verdict, to, left, reason }: Explanation): string {
  return verdict === 'sent' ? `sent to ${to}: ${left}` : verdict === 'held' ? 'held' : `dropped: ${reason!.name}`
}

function turnLines({ edits, explanation, captureDrops }: Turn, text: string): string[] {
  const reach = captureDrops === null || captureDrops.before === captureDrops.after ? ''
    : `; drops of the capture: ${captureDrops.before} -> ${captureDrops.after}`
  return [`  ${edits.map((edit) => editText(edit, text)).join(', and ')}`, `  then      ${outcome(explanation)}${reach}`]
}

/** The setting, what it is now and where that stands. */
function editText({ path, before, after, added, example }: Edit, text: string): string {
  const document = readDocument(text)
  const place = document.places.get('/' + path.replaceAll('.', '/'))
  const where = place === undefined ? 'the default' : `line ${document.locate(place.key ?? place.value).line}`
  if (added === null) return `${path}: ${after}  (now ${before}, ${where})`
  const stands = example === null ? '' : `  (${example}: the inside host that it is for)`
  return `${path}: one more, before the others: ${added}${stands}`
}

function packet(text: string): WrittenPacket {
  try {
    return parsePacket(text)
  } catch (error) {
    if (error instanceof PacketError) {
      const isCut = !text.includes('>') && text.includes(' ')
      throw new Failure(STATUS.usage, `packet: ${explainFault(text, error)}`
        + (isCut ? '\nQuote the packet: the shell has taken what follows > for the name of a file.' : ''), { cause: error })
    }
    throw error
  }
}

function later(text: string): number {
  const parsed = parseDuration(text)
  if (!parsed.ok) throw new InvalidArgumentError(parsed.message)
  return parsed.value
}
