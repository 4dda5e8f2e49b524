/** The section `midcom.snmp`: the door for managers that speak SNMPv3, who may come in by it, and what they see. */
import { AUTH_NAMES, PRIV_NAMES } from '../../control/snmp/keys.ts'
import { DEFAULT_SNMP_LIMITS } from '../../control/snmp/options.ts'
import { choice, count, duration, flag, item, list, section, sections, value } from './setting.ts'

const subtree = item('subtree', '1.3.6.1.2.1.171',
  'An object identifier with * for any number, or rules-of:NAME for what an agent owns in the tables of rules.')
const examples = [['1.3.6.1.2.1.1', '1.3.6.1.2.1.171.1.2', 'rules-of:softswitch']]

export const SNMP = section('The SNMP door: the MIDCOM-MIB (RFC 5190) over SNMPv3, always authenticated and encrypted.', {
  listen: list(item('endpoint', '127.0.0.1:1161', 'An address with a port.', { port: '1161' }), 16, [],
    [['127.0.0.1:1161', '[::1]:1161']], 'Where it listens on UDP; with [] it is shut. It needs midcom.state.'),
  'engine-id': value('engine-id', '80007ed90500000001',
    'Identity of the engine, hex, 5 to 32 bytes; empty: made at the first start and kept in midcom.state.', ''),
  contact: value('text', 'noc@example.net', 'sysContact.', ''),
  name: value('text', 'box-1', 'sysName; empty: the name of the machine.', ''),
  location: value('text', 'rack 7', 'sysLocation.', ''),
  users: sections('Who may come in: users of the user-based security model (RFC 3414).', 1024, 'A user.', ['name'], {
    name: value('name', 'softswitch', 'The securityName, at most 32 bytes.'),
    agent: value('name', 'softswitch', 'Entry of midcom.agents that it is. What it sets up is owned by that agent.'),
    group: value('name', 'monitors', 'Entry of groups below that says what it sees, in place of what its agent may.'),
    auth: choice('SHA-256', AUTH_NAMES, 'Authentication; SHA is SHA-1, for managers that have nothing better.'),
    'auth-password': value('password', 'a long password', 'Password of authentication, 8 characters or more.'),
    'auth-password-file': value('text', 'softswitch.auth', 'The same in a file of its own, relative to this one.'),
    priv: choice('AES', PRIV_NAMES, 'Encryption; AES is AES-128 (RFC 3826), AES-256 is what net-snmp understands by it.'),
    'priv-password': value('password', 'another password', 'Password of encryption, 8 characters or more.'),
    'priv-password-file': value('text', 'softswitch.priv', 'The same in a file of its own, relative to this one.'),
  }),
  groups: sections('What users see (RFC 3415). A user without a group is in that of its agent: it sees the box and its '
    + 'own rules, changes these, and is told of them, and the same with those of agents it acts for.', 1024, 'A group.', ['name'], {
    name: value('name', 'monitors', 'Its name, at most 32 bytes.'),
    read: value('name', 'everything', 'View of what it may read; left out: nothing.'),
    write: value('name', 'nothing', 'View of what it may write.'),
    notify: value('name', 'everything', 'View of what it may be told.'),
  }),
  views: sections('Sets of objects. Of an include and an exclude that hold the same object the longer one decides.', 1024,
    'A view.', ['name'], {
      name: value('name', 'everything', 'Its name, at most 32 bytes.'),
      include: list(subtree, 1024, undefined, examples, 'What it holds.'),
      exclude: list(subtree, 1024, undefined, examples, 'What it does not hold of that.'),
    }),
  targets: sections('Who is told of events (RFC 3413).', 256, 'A receiver of notifications.', ['name', 'address', 'user'], {
    name: value('name', 'softswitch-events', 'Its name, at most 32 bytes.'),
    address: { ...value('endpoint', '192.0.2.7:162', 'Where it listens.'), 'x-value': { kind: 'endpoint', port: '162' } },
    user: value('name', 'softswitch', 'Entry of users whose keys and whose view count.'),
    type: choice('trap', ['trap', 'inform'], 'A trap is sent once; an inform until it is confirmed.'),
    timeout: duration('15s', '10ms', '10m', '', 'How long an inform waits for its confirmation.'),
    retries: count(3, '0', '255', 'times', 'How often an inform is sent again.'),
    events: flag(true, 'Events of rules are on from the start; its user may turn them off and on (RFC 5190 7.1).'),
  }),
  limits: section('Bounds of memory and of work.', {
    'message-bytes': count(DEFAULT_SNMP_LIMITS.messageBytes, '484', '65507', 'bytes', 'Longest message.'),
    varbinds: count(DEFAULT_SNMP_LIMITS.varbinds, '16', '16k', 'objects', 'Objects in a request, and in the answer to a GETBULK.'),
    'queued-messages': count(DEFAULT_SNMP_LIMITS.queuedMessages, '16', '64k', 'messages', 'Messages that wait for their turn.'),
    'queued-notifications': count(DEFAULT_SNMP_LIMITS.queuedNotifications, '16', '64k', 'notifications',
      'Notifications that wait for one receiver.'),
    'remembered-sets': count(DEFAULT_SNMP_LIMITS.rememberedSets, '16', '4M', 'messages',
      'SETs that are remembered, so that none is carried out twice.'),
  }),
})
