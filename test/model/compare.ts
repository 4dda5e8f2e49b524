/** Plays a list of steps to the model and to the engine, and says where they first differ. */
import assert from 'node:assert/strict'
import { createModel, type Model, type ModelOptions, type Outcome } from '../nat.model.ts'
import type { MidcomCommand } from './commands.ts'
import { EngineDriver, type Totals } from './engine-driver.ts'
import { same, type Endpoint, type Mapping } from './flows.ts'
import { play, type Event, type Ordered, type Step } from './traffic.ts'

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

/** An outcome as text, so that differences print well. */
export function told(outcome: Outcome): string {
  const line = (s: Outcome['sent'][number]) => `${s.kind} to ${s.side} ${s.wireBytes}: ${hex(s.bytes)}`
  const sent = outcome.sent.map(line)
  const held = outcome.heldDrops.map(h => h.reason).sort()
  const lines = [...outcome.late.map(one => `late: ${line(one)}`), `${outcome.verdict} ${outcome.reason ?? ''}`, ...sent]
  if (held.length > 0) lines.push('held: ' + held.join(' '))
  return lines.join('\n')
}

const isCommand = (event: Event): event is Ordered => 'commands' in event

function context(events: readonly Event[], at: number): string {
  return events.slice(0, at + 1).map((event, i) => {
    if (isCommand(event)) return `#${i} ${event.from.kind} t=${event.nowMs} ${JSON.stringify(event.commands)}`
    const { input, outcome, from } = event
    const came = `#${i} ${from.kind} t=${input.nowMs} from ${input.side} ${input.wireBytes}: ${hex(input.bytes)}`
    return (came + '\n-> ' + told(outcome)).replaceAll('\n', '\n    ')
  }).join('\n')
}

/** What a log of mappings has to say that there is. */
function loggedOf(model: Model): string[] {
  const { flows, midcom: { bindings }, options } = model, size = options.portBlocks?.size ?? 0
  const line = (protocol: number, local: Endpoint, outside: Endpoint) => `${protocol} ${local.addr}:${local.port} ${outside.addr}:${outside.port}`
  const mappings = flows.all().flatMap(({ mapping }) => mapping === null || mapping.bound || flows.isAttributed(mapping) ? []
    : [line(mapping.protocol, mapping.inside, mapping.outside)])
  const ports = bindings.ports.filter(b => !b.fixed).map(b => line(b.protocol, b.local, b.outside))
  const addresses = bindings.addresses.filter(b => !b.fixed)
    .map(b => line(0, { addr: b.local, port: 0 }, { addr: b.outside, port: 0 }))
  const blocks = flows.blocks.map(({ owner, addr, number }) => {
    const low = options.portLo + number * size
    return `${line(0, { addr: owner, port: 0 }, { addr, port: low })}-${low + size - 1}`
  })
  return [...new Set([...mappings, ...ports, ...addresses, ...blocks])].sort()
}

/** What the engine counts, counted in the model. */
export function tallyOf(model: Model): Totals {
  const all = model.flows.all(), { activity, bindings } = model.midcom
  // Port bindings are counted apart, whether a flow uses them or not.
  const isPort = (m: Mapping) => bindings.ports.some(b => b.protocol === m.protocol && same(b.outside, m.outside))
  const mappings = all.flatMap(f => f.mapping === null || isPort(f.mapping) ? [] : [JSON.stringify(f.mapping)])
  return {
    flows: all.length, mappings: new Set(mappings).size, suppressed: model.icmpSuppressed(),
    halfOpen: model.options.halfOpen + model.options.halfOpenPerSource === 0 ? 0 : all.filter(f => f.halfOpen !== null).length,
    syns: model.waiting(), waiting: model.flows.held.length, blocks: model.flows.blocks.length, logged: loggedOf(model), held: model.fragments.heldCount(), rules: activity.slice(1),
    firewall: model.firewall.hits,
  }
}

/** `batch` events are one batch, commands too. */
export function compare(
  options: ModelOptions, list: readonly Step[], startMs: number, linkBytes: number, batch: number, replay = false,
): void {
  const model = createModel(options), driver = new EngineDriver(options, linkBytes, replay)
  const totals: string[] = []
  const tally = () => { totals.push(JSON.stringify(tallyOf(model))) }
  const { packet, command } = model
  const watched: Model = { ...model, packet: input => {
    const outcome = packet(input)
    tally()
    return outcome
  }, command: (commands, nowMs) => {
    command(commands, nowMs)
    tally()
  } }
  const events = play(watched, list, startMs, replay)
  for (let first = 0; first < events.length; first += batch) {
    const some = events.slice(first, first + batch)
    const outcomes = driver.run(some.map(event => isCommand(event) ? event : event.input))
    some.forEach((event, i) => {
      if (isCommand(event)) return
      const [engine, other] = [told(outcomes[i]!), told(event.outcome)]
      if (engine !== other) {
        assert.fail(`packet #${first + i}\nengine: ${engine}\nmodel:  ${other}\n\n${context(events, first + i)}`)
      }
    })
    // Within a batch only the state after its last event can be seen.
    const last = Math.min(first + batch, events.length) - 1
    const counted = JSON.stringify(driver.totals())
    if (counted !== totals[last]) {
      assert.fail(`counters after #${last}\nengine: ${counted}\nmodel:  ${totals[last]}\n\n${context(events, last)}`)
    }
  }
  driver.checkSums()
  assert.deepEqual(driver.finish().map(h => h.reason).sort(), model.finish().map(h => h.reason).sort(), 'at the end')
}

/** What ends all rules and bindings that the model has, and then every flow. */
function farewell(model: Model): MidcomCommand[] {
  const { rules, bindings } = model.midcom
  const everything = (version: 4 | 6): MidcomCommand => {
    const all = { addr: '0'.repeat(version === 4 ? 8 : 32), bits: 0, lo: 0, hi: 65535 }
    const both = { local: all, peer: all, out: false, in: false, bound: false, twice: false }
    return { op: 'add', rule: { rule: 1, priority: 0, version, protocol: -1, disable: true, ...both } }
  }
  return [
    ...rules.list.map(({ rule }): MidcomCommand => ({ op: 'delete', rule })),
    ...bindings.ports.filter(b => !b.fixed).map((b): MidcomCommand => ({ op: 'unbind-ports', ...b, count: 1 })),
    ...bindings.addresses.filter(b => !b.fixed).map((b): MidcomCommand => ({ op: 'unbind-address', ...b })),
    ...bindings.inside.filter(b => !b.fixed).map(({ protocol, peer, inside }): MidcomCommand =>
      ({ op: 'unbind-inside', protocol: protocol ?? 0, peer, inside, count: protocol === null ? 0 : 1 })),
    everything(4), { op: 'delete', rule: 1 }, everything(6), { op: 'delete', rule: 1 },
  ]
}

/**
 * Packets come between the slices of commands, where the model cannot follow. Nothing may be lost or left behind: when all
 * rules, bindings and flows are ended, nothing is there.
 */
export function survive(options: ModelOptions, list: readonly Step[], startMs: number, budget: number): void {
  const model = createModel(options), driver = new EngineDriver(options)
  let nowMs = startMs
  const write = (command: MidcomCommand) => {
    for (let slices = 0; driver.room() === 0; slices++) {
      driver.slice(nowMs, budget)
      assert.ok(slices < 10_000, 'commands have an end')
    }
    driver.write([command])
  }
  for (const event of play(model, list, startMs)) {
    nowMs = isCommand(event) ? event.nowMs : event.input.nowMs
    if (isCommand(event)) {
      for (const command of event.commands) {
        if (command.op === 'replace-rules') driver.replace(command.rules)
        else write(command)
      }
    }
    else driver.run([event.input])
    driver.slice(nowMs, budget)
  }
  farewell(model).forEach(write)
  for (let slices = 0; driver.slice(nowMs, budget); slices++) assert.ok(slices < 10_000, 'commands have an end')
  const { flows, mappings } = driver.totals()
  assert.deepEqual({ flows, mappings, ruled: driver.ruled(), hosts: driver.hosts() }, { flows: 0, mappings: 0, ruled: [0, 0], hosts: 0 })
  driver.checkSums()
}
