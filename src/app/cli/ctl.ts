/** `pinhole ctl`: asks a running middlebox, as an agent would (SIMCO, RFC 4540). Rules outlive the command. */
import type { Command } from 'commander'
import { Option } from 'commander'
import {
  connect, MidcomError, type Agent, type DisableRequest, type EnableRequest, type Endpoint, type ReserveRequest, type RuleStatus,
} from '../../control/simco/agent.ts'
import { asFailure } from './ctl-failure.ts'
import {
  connectOptions, count, endpoint, identifier, identifiers, ports, protocol, seconds, server, serverText, timeout, version,
  type CtlFlags,
} from './ctl-options.ts'
import { capabilitiesText, eventJson, eventText, grantedText, statusText, table } from './ctl-print.ts'
import { STATUS } from './status.ts'

const SIGNAL_STATUS = { SIGINT: STATUS.interrupted, SIGTERM: STATUS.terminated }
type Signal = keyof typeof SIGNAL_STATUS
/** For the farewell: the answer is in our hands already. */
const END_MS = 1000

export function registerCtl(program: Command): void {
  const ctl = program.command('ctl')
    .summary('ask a running middlebox for rules')
    .description('Ask a running middlebox, as a MIDCOM agent does (SIMCO 3.0, RFC 4540). Rules live on until their lifetime ends.')
    .addOption(new Option('--server <host:port>', 'the middlebox').env('PINHOLE_SERVER').argParser(server)
      .default(server('127.0.0.1'), '127.0.0.1:7626'))
    .option('--tls', 'connect by TLS; so do the next three')
    .option('--ca <file>', 'certificates of the authorities to trust (PEM), instead of the usual ones')
    .option('--cert <file>', 'certificate that says who the agent is (PEM)')
    .option('--key <file>', 'its private key (PEM)')
    .option('--agent <name>', 'name of the agent whose shared key follows')
    .option('--key-file <file>', 'shared key by which both sides prove themselves, hex or base64')
    .addOption(new Option('--timeout <duration>', 'for connecting, and for each answer').argParser(timeout).default(10_000, '10s'))
    .option('--json', 'print JSON instead of a table')
    .addHelpText('after', `
Endpoints: 10.0.0.5:5004, 10.0.0.5:5004-5005, 10.0.0.5:5004+2 (two ports), 10.0.0.0/8 (any port), '*', '*:5060',
[2001:db8::1]:5060. Protocols: udp, tcp, gre and other names, any, or a number. Lifetimes: seconds, or 5m.
Exit status: 5 no connection, 6 not authorized, 7 refused, 8 nothing left, 9 no answer in time; pinhole --help has all.

Examples:
  pinhole ctl enable 10.0.0.5:5004+2 198.51.100.7:6000+2 --protocol udp --direction inbound --parity same
  pinhole ctl list --server 192.0.2.1:7626 --agent b2bua-1 --key-file b2bua-1.key
  PINHOLE_SERVER=192.0.2.1 pinhole ctl watch --ca ca.pem --cert b2bua-1.pem --key b2bua-1-key.pem`)
  registerRules(ctl)
  registerReports(ctl)
}

function registerRules(ctl: Command): void {
  const lifetime = () => new Option('--lifetime <time>', 'seconds, or a duration').argParser(seconds).default(300, '300')
  const asked = () => new Option('--protocol <name>', 'udp, tcp, another name such as gre, any, or a number')
    .argParser(protocol).makeOptionMandatory()

  ctl.command('reserve')
    .summary('reserve outside ports, or an address')
    .description('Reserve consecutive outside ports, or with --protocol any an address (PRR).')
    .addOption(asked())
    .option('--ports <n>', 'how many, or all', ports, 1)
    .addOption(new Option('--parity <parity>', 'of the lowest port').choices(['any', 'odd', 'even']).default('any'))
    .addOption(new Option('--service <service>', 'twice: reserve inside too')
      .choices(['traditional', 'twice']).default('traditional'))
    .option('--inside-version <n>', 'IP version inside, 4 or 6', version)
    .option('--outside-version <n>', 'IP version outside, 4 or 6', version)
    .option('--group <n>', 'group to join instead of a new one', identifier)
    .addOption(lifetime())
    .addHelpText('after', '\nExample:\n  pinhole ctl reserve --protocol udp --ports 2 --parity even --lifetime 5m')
    .action((flags: ReserveFlags, command: Command) => withAgent(command, async (agent, show) => {
      const { lifetime: lifetimeSec, ...rest } = flags
      const found = await agent.reserve({ ...rest, lifetimeSec })
      show(found, () => grantedText(found))
    }))

  ctl.command('enable')
    .summary('let traffic pass, and bind what it needs')
    .description('Let traffic between two endpoints pass, and bind what it needs (PER, or PEA with a reservation).')
    .argument('<internal>', 'endpoint inside (A0)', endpoint)
    .argument('<external>', 'endpoint outside (A3)', endpoint)
    .addOption(asked())
    .addOption(new Option('--direction <direction>', 'of UDP; of TCP: from where it is opened')
      .choices(['inbound', 'outbound', 'bidirectional']).makeOptionMandatory())
    .addOption(new Option('--parity <parity>', 'same: outside ports odd where inside ports are')
      .choices(['any', 'same']).default('any'))
    .option('--group <n>', 'group to join instead of a new one', identifier)
    .addOption(new Option('--reservation <rule>', 'reserve rule to turn into this rule').argParser(identifier).conflicts('group'))
    .addOption(lifetime())
    .addHelpText('after', `
Example:
  pinhole ctl enable 10.0.0.5:5004+2 '*' --protocol udp --direction inbound --reservation 17`)
    .action((internal: Endpoint, external: Endpoint, flags: EnableFlags, command: Command) =>
      withAgent(command, async (agent, show) => {
        const { lifetime: lifetimeSec, ...rest } = flags
        const found = await agent.enable({ ...rest, internal, external, lifetimeSec })
        show(found, () => grantedText(found))
      }))

  ctl.command('deny')
    .summary('block traffic, whoever has enabled it')
    .description('Block traffic between two endpoints, and end the rules that let it pass, whoever owns them (PDR).')
    .argument('<internal>', 'endpoint inside (A0)', endpoint)
    .argument('<external>', 'endpoint outside (A3)', endpoint)
    .addOption(asked())
    .addOption(lifetime())
    .addHelpText('after', "\nExample:\n  pinhole ctl deny '*' 203.0.113.66 --protocol any --lifetime 1h")
    .action((internal: Endpoint, external: Endpoint, flags: DenyFlags, command: Command) =>
      withAgent(command, async (agent, show) => {
        const found = await agent.disable({ protocol: flags.protocol, internal, external, lifetimeSec: flags.lifetime })
        show(found, () => table(['rule', 'seconds'], [[found.rule, found.lifetimeSec]]))
      }))

  ctl.command('lifetime')
    .summary('change how long a rule lives')
    .description('Change how long a rule lives from now on (PLC). What is granted may be less than what is asked for.')
    .argument('<rule>', 'its number', identifier)
    .argument('<time>', 'seconds, or a duration; 0 deletes it', seconds)
    .addHelpText('after', '\nExample:\n  pinhole ctl lifetime 17 10m')
    .action((rule: number, asked: number, _flags: object, command: Command) => withAgent(command, async (agent, show) => {
      const lifetimeSec = await agent.changeLifetime(rule, asked)
      show({ rule, lifetimeSec }, () => table(['rule', 'seconds'], [[rule, lifetimeSec]]))
    }))

  ctl.command('delete')
    .summary('end rules')
    .description('End rules (PLC with a lifetime of 0). Each is tried, though another fails.')
    .argument('<rule...>', 'their numbers', identifiers)
    .addHelpText('after', '\nExample:\n  pinhole ctl delete 17 18')
    .action((rules: number[], _flags: object, command: Command) => withAgent(command, async (agent, show) => {
      const results = await Promise.allSettled(rules.map((rule) => agent.delete(rule)))
      const gone = rules.filter((_, i) => results[i]!.status === 'fulfilled')
      show(gone.map((rule) => ({ rule })), () => gone.map((rule) => `rule ${rule}: gone\n`).join(''))
      throwFirst(rules, results)
    }))
}

function registerReports(ctl: Command): void {
  ctl.command('session')
    .summary('open a session and show what the middlebox can do')
    .description('Open a session, show what the middlebox can do, and end it.')
    .addHelpText('after', '\nExample:\n  pinhole ctl session --server 192.0.2.1:7626')
    .action((_flags: object, command: Command) => withAgent(command, (agent, show) => {
      const at = serverText(command.optsWithGlobals<CtlFlags>().server)
      show({ server: at, capabilities: agent.capabilities }, () => capabilitiesText(at, agent.capabilities))
      return Promise.resolve()
    }))

  ctl.command('list')
    .summary('show all rules that this agent may access')
    .description('Show all rules that this agent may access, its own and those of others (PRL, PRS).')
    .addHelpText('after', '\nExample:\n  pinhole ctl list --json | jq length')
    .action((_flags: object, command: Command) => withAgent(command, async (agent, show) => {
      const rules = await agent.resynchronise()
      show(rules, () => statusText(rules))
    }))

  ctl.command('status')
    .summary('show rules')
    .description('Show rules (PRS). Each is asked for, though another fails.')
    .argument('<rule...>', 'their numbers', identifiers)
    .addHelpText('after', '\nExample:\n  pinhole ctl status 17')
    .action((rules: number[], _flags: object, command: Command) => withAgent(command, async (agent, show) => {
      const results = await Promise.allSettled(rules.map((rule) => agent.status(rule)))
      const found = results.flatMap((result): RuleStatus[] => result.status === 'fulfilled' ? [result.value] : [])
      if (found.length > 0 || command.optsWithGlobals<CtlFlags>().json === true) show(found, () => statusText(found))
      throwFirst(rules, results)
    }))

  ctl.command('watch')
    .summary('show what happens to rules')
    .description('Show what happens to rules by others or by themselves, a line each, until interrupted. Connects again when the '
      + 'session is lost.')
    .option('--count <n>', 'end after so many changes of rules', count)
    .addHelpText('after', '\nExample:\n  pinhole ctl watch --count 1 --json')
    .action((flags: { count?: number }, command: Command) => withAgent(command, (agent, _show, signal) => {
      const all = command.optsWithGlobals<CtlFlags>()
      if (all.json !== true) process.stderr.write(`listening to ${serverText(all.server)} ${identityText(all)}\n`)
      return watch(agent, flags.count ?? Infinity, all.json === true, signal)
    }, true))
}

interface ReserveFlags extends Omit<ReserveRequest, 'lifetimeSec'> { lifetime: number }
interface EnableFlags extends Omit<EnableRequest, 'lifetimeSec' | 'internal' | 'external'> { lifetime: number }
interface DenyFlags extends Pick<DisableRequest, 'protocol'> { lifetime: number }

/** Prints a result: as JSON, or the text. */
type Show = (value: unknown, text: () => string) => void

/** Opens a session, does the work, ends the session; turns errors and signals into an exit status. */
async function withAgent(
  command: Command, work: (agent: Agent, show: Show, signal: AbortSignal) => Promise<void>, reconnect = false,
): Promise<void> {
  const flags = command.optsWithGlobals<CtlFlags>()
  const stop = new AbortController()
  let agent: Agent | null = null, heard: Signal | null = null
  const onSignal = (signal: Signal) => {
    heard = signal
    stop.abort()
    agent?.close()
  }
  const options = connectOptions(flags, stop.signal)
  if (reconnect) options.reconnect = {}
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  try {
    agent = await connect(flags.server.host, flags.server.port, options)
    await work(agent, (value, text) => {
      process.stdout.write(flags.json === true ? JSON.stringify(value, null, 2) + '\n' : text())
    }, stop.signal)
  } catch (error) {
    // What a signal has cut short is no failure of the middlebox.
    if (heard === null) throw asFailure(error, serverText(flags.server))
  } finally {
    await agent?.end({ timeoutMs: END_MS })
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
  if (heard !== null) process.exitCode = SIGNAL_STATUS[heard]
}

/** By which the middlebox knows the agent; without anything it is whoever this connection is said to be. */
function identityText({ agent, cert }: CtlFlags): string {
  if (agent !== undefined) return `as agent ${agent}`
  return cert === undefined ? 'as its loopback-agent' : `as the agent of the certificate ${cert}`
}

/** Of several requests the first failure is the command's; the others have a line each. */
function throwFirst(rules: readonly number[], results: readonly PromiseSettledResult<unknown>[]): void {
  const errors: unknown[] = []
  results.forEach((result, i) => {
    if (result.status === 'fulfilled') return
    errors.push(result.reason)
    if (result.reason instanceof MidcomError) process.stderr.write(`rule ${rules[i]}: ${result.reason.reason}\n`)
  })
  if (errors.length > 0) throw errors[0]
}

async function watch(agent: Agent, most: number, json: boolean, signal: AbortSignal): Promise<void> {
  let seen = 0
  // Whoever has closed our output wants to see no more.
  const onClosed = () => agent.close()
  process.stdout.once('error', onClosed)
  try {
    for await (const event of agent.events()) {
      process.stdout.write((json ? eventJson(event) : eventText(event)) + '\n')
      if (event.kind === 'rule' && ++seen >= most) return
    }
    const error = await agent.closed
    if (error !== null && !signal.aborted) throw error
  } finally {
    process.stdout.off('error', onClosed)
  }
}
