/** The steps of a script as schemas, one for each kind of step. */
import { REASONS } from '../../policy/api.ts'
import { choice, duration, LONGEST, value, type Section, type Setting } from '../config/setting.ts'

/** Transactions of RFC 5189, and what opens and closes a session. */
export const ACTIONS = [
  'reserve', 'enable', 'disable', 'lifetime', 'list', 'status', 'group-lifetime', 'group-list', 'group-status',
] as const
export type Action = (typeof ACTIONS)[number] | 'open' | 'close' | 'firewall'

export function isAction(text: unknown): text is Action {
  return (ACTIONS as readonly unknown[]).includes(text)
}

const seconds = { seconds: true, off: true } as const
const lifetime = duration('1h', '1s', LONGEST, '', 'What is asked for; 0s ends the rule.', seconds)
const reference = (description: string): Setting => ({
  type: ['string', 'integer'], description, examples: ['call1'], 'x-value': { kind: 'text' },
})
const rule = reference('The rule that the step of this name made, or its number.')
const group = reference('The group of that rule, or its number.')
const internal = value('tuple', '10.0.0.5:5004+2 udp', 'A0, the inside end.')
const external = value('tuple', '198.51.100.7:6000+2', 'A3, the outside end.')

const COMMON: Record<string, Setting> = {
  at: value('instant', '12.4s', 'When, after the first packet of the capture.'),
  agent: value('name', 'lab', 'Who.'),
  do: { type: 'string', description: 'What.', examples: ['enable'], enum: [...ACTIONS] },
  as: value('name', 'call1', 'A name for what comes of it.'),
  expect: { type: 'string', description: 'What the answer should be.', examples: ['ok'], enum: ['ok', ...REASONS] },
}

const OWN: Record<Action | 'session', { required: string[]; properties: Record<string, Setting> }> = {
  reserve: {
    required: ['protocol'],
    properties: {
      group, internal, lifetime,
      protocol: {
        type: ['string', 'integer'], description: 'A name such as udp, or a number.', examples: ['udp'],
        'x-value': { kind: 'protocol' },
      },
      ports: {
        type: ['string', 'integer'], description: 'Consecutive ports; all: a whole address.', default: 1, examples: [2],
        'x-value': { kind: 'count', min: '0', max: '65535', unit: 'ports', word: 'all' },
      },
      parity: choice('any', ['any', 'odd', 'even'], 'Of the first port.'),
      service: choice('any', ['any', 'traditional', 'twice'], 'Kind of NAT.'),
      'internal-version': version('IP version inside.'), 'external-version': version('IP version outside.'),
    },
  },
  enable: {
    required: ['internal', 'external'],
    properties: {
      reservation: rule, group, internal, external, lifetime,
      direction: choice('bidirectional', ['inbound', 'outbound', 'bidirectional'], 'Which way.'),
      parity: choice('any', ['any', 'same'], 'same: odd ports map to odd ones, even to even.'),
      'max-idle': duration('0s', '1s', LONGEST, '', 'Ends without packets for so long; 0s: as the box has it; never.',
        { ...seconds, word: 'never' }),
    },
  },
  disable: { required: ['internal', 'external'], properties: { internal, external, lifetime } },
  lifetime: { required: ['rule', 'lifetime'], properties: { rule, lifetime } },
  list: { required: [], properties: {} },
  status: { required: ['rule'], properties: { rule } },
  'group-lifetime': { required: ['group', 'lifetime'], properties: { group, lifetime } },
  'group-list': { required: [], properties: {} },
  'group-status': { required: ['group'], properties: { group } },
  session: {
    required: [], properties: { session: choice('open', ['open', 'close'], 'Opens the session of an agent, or closes it.') },
  },
  firewall: { required: [], properties: {} },
  open: { required: [], properties: {} },
  close: { required: [], properties: {} },
}

function version(description: string): Setting {
  return { type: 'integer', description, examples: [4], enum: [4, 6] }
}

const made = new Map<string, Section>()

/** A step that no agent makes. */
const FIREWALL: Section = {
  type: 'object', description: 'A step.', additionalProperties: false, required: ['at', 'firewall'],
  properties: {
    at: COMMON.at!,
    firewall: { type: 'string', description: 'The configuration whose firewall rules count from now on.', examples: ['new.yaml'],
      'x-value': { kind: 'text' } },
  },
}

/** The same object for the same action: it is compiled once. */
export function actionSchema(action: Action | 'session'): Section {
  if (action === 'firewall') return FIREWALL
  let schema = made.get(action)
  if (schema === undefined) {
    const { required, properties } = OWN[action]
    schema = {
      type: 'object', description: 'A step.', additionalProperties: false, required: ['at', 'agent', ...required],
      properties: { ...COMMON, ...properties },
    }
    made.set(action, schema)
  }
  return schema
}
