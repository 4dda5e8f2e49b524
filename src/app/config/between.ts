/** What no schema can say: a pool too large, two entries that overlap, a pool that reaches inside, a key that is not there. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { printPrefix } from '../../base/address.ts'
import { isLoopback } from '../../control/simco/remotes.ts'
import { systemReason } from '../../phy/capture-error.ts'
import { parsePrefix, prefixRange, rangeToText } from './address.ts'
import { betweenInterfaces } from './between-interfaces.ts'
import { betweenNat } from './between-nat.ts'
import { betweenNpt6 } from './between-npt6.ts'
import { betweenRules } from './between-rules.ts'
import { betweenSnmp } from './between-snmp.ts'
import { pathOf, reporter, type Found, type Problem, type SettingsDocument } from './document.ts'
import { setting } from './schema.ts'
import { entries, overlap, POOL_MOST } from './written.ts'
import { nearest } from './nearest.ts'
import { parsePorts } from './quantity.ts'
import { parseEndpoint, parseKey, usableIpv4, usableRange } from './values.ts'

export function betweenSettings(document: SettingsDocument, folder: string): Problem[] {
  const { data, problems: earlier } = document
  const problems: Problem[] = []
  const found = reporter(document, problems)
  if (data === null && earlier.length > 0) return []

  const inside = entries(data, 'inside', parsePrefix)
  inside.forEach(({ pointer, value }, i) => {
    const text = printPrefix(value)
    if (inside.slice(0, i).some(other => printPrefix(other.value) === text)) {
      found([pointer], `${text} is in the list twice`, 'remove it')
    }
  })
  const pool = entries(data, 'nat.pool', usableRange)
  const addresses = pool.reduce((n, { value }) => n + value.last - value.first + 1, 0)
  if (addresses > POOL_MOST) {
    found(['/nat/pool'], `${addresses} addresses are too many (1 to ${POOL_MOST})`, 'write a shorter range or prefix')
  }
  betweenInterfaces(data, found)
  betweenRules(data, found)
  betweenMidcom(data, folder, found)
  betweenSnmp(data, folder, found)
  betweenUdpPorts(data, found)
  betweenNat(data, found)
  betweenNpt6(data, found)
  if (setting(data, 'nat.nat44') === false) return problems
  pool.forEach(({ pointer, value }, i) => {
    for (const other of pool.slice(0, i)) {
      const both = overlap(value, other.value)
      if (both !== null) {
        found([pointer], `${rangeToText(both)} is in the pool twice`, `${pathOf(other.pointer)} holds it already`)
        break
      }
    }
    // @req RFC4787 REQ-7
    for (const prefix of inside) {
      const both = prefix.value.version === 4 ? overlap(value, prefixRange(prefix.value)) : null
      if (both === null) continue
      found([pointer, prefix.pointer],
        `${rangeToText(both)} is both in the pool and inside, in ${printPrefix(prefix.value)}`,
        'outside addresses must not be inside ones')
      break
    }
  })
  const own = usableIpv4(String(setting(data, 'box.inside-address')))
  const taken = own.ok ? { first: own.value >>> 0, last: own.value >>> 0 } : null
  const holder = taken === null ? undefined : pool.find(({ value }) => overlap(value, taken) !== null)
  if (holder !== undefined) {
    found(['/box/inside-address', holder.pointer], `${rangeToText(taken!)} is in nat.pool`,
      'write an address outside of the pool')
  }
  return problems
}

function betweenUdpPorts(data: unknown, found: Found): void {
  const list = setting(data, 'timers.udp-ports')
  const seen = new Map<string, number>()
  for (const [i, entry] of (Array.isArray(list) ? list : []).entries()) {
    const port = String(setting(entry, 'port', 'timers.udp-ports[].'))
    const before = seen.get(port)
    if (before === undefined) seen.set(port, i)
    else found([`/timers/udp-ports/${i}/port`], `port ${port} is in the list twice`, `timers.udp-ports[${before}] has it already`)
  }
}

const KEY_ADVICE = 'make one by: openssl rand -hex 32'

function betweenMidcom(data: unknown, folder: string, found: Found): void {
  const agents = setting(data, 'midcom.agents')
  const names = new Map<unknown, string>()
  const list = (Array.isArray(agents) ? agents : []).map((entry: unknown, i) => ({ entry, pointer: `/midcom/agents/${i}` }))
  for (const { entry, pointer } of list) {
    const name = setting(entry, 'name', AGENT)
    if (names.has(name) && name !== undefined) {
      found([`${pointer}/name`], `'${String(name)}' is the name of two agents`, `${pathOf(names.get(name)!)} has it already`)
    } else names.set(name, pointer)
  }
  for (const { entry, pointer } of list) {
    const keyFile = setting(entry, 'key-file', AGENT)
    if (typeof keyFile === 'string') {
      const twice = setting(entry, 'key', AGENT) !== undefined
      const fault = twice ? null : keyFileFault(resolve(folder, keyFile))
      if (twice) found([`${pointer}/key-file`], 'the agent has a key already', 'remove one of the two')
      else if (fault !== null) found([`${pointer}/key-file`], fault, KEY_ADVICE)
    }
    const actsFor = setting(entry, 'acts-for', AGENT)
    for (const [i, other] of (Array.isArray(actsFor) ? actsFor : []).entries()) {
      if (other !== '*' && typeof other === 'string' && !names.has(other)) {
        found([`${pointer}/acts-for/${i}`], `there is no agent '${other}'`, suggestName(other, names))
      }
    }
    if (setting(entry, 'pdp', AGENT) === true && setting(data, 'midcom.pdp.url') === '') {
      found([`${pointer}/pdp`], 'there is no policy decision point to ask', 'set midcom.pdp.url')
    }
  }
  const loopback = setting(data, 'midcom.simco.loopback-agent')
  if (typeof loopback === 'string' && loopback !== '' && !names.has(loopback)) {
    found(['/midcom/simco/loopback-agent'], `there is no agent '${loopback}'`, suggestName(loopback, names))
  }
  for (const path of FILES) {
    const file = setting(data, path)
    const fault = typeof file === 'string' && file !== '' ? fileFault(resolve(folder, file)) : null
    if (fault !== null) found(['/' + path.replaceAll('.', '/')], fault)
  }
  if ((setting(data, 'midcom.simco.tls.cert') === '') !== (setting(data, 'midcom.simco.tls.key') === '')) {
    found(['/midcom/simco/tls/cert', '/midcom/simco/tls/key'], 'a certificate and its private key come together', 'name both')
  }
  const certified = new Map<unknown, string>()
  for (const { entry, pointer } of list) {
    const certificates = setting(entry, 'certificates', AGENT)
    for (const [i, name] of (Array.isArray(certificates) ? certificates : []).entries()) {
      const at = `${pointer}/certificates/${i}`, other = certified.get(name)
      if (other !== undefined) found([at], `'${String(name)}' would be two agents`, `${pathOf(other)} has it already`)
      else certified.set(name, at)
    }
  }
  if (setting(data, 'midcom.enabled') !== true) return
  if (setting(data, 'midcom.simco.tls.cert') === '' && setting(data, 'midcom.simco.allow-plain') === false) {
    for (const { pointer, value } of entries(data, 'midcom.simco.listen', parseEndpoint)) {
      if (isLoopback(value.host)) continue
      found([pointer], 'without TLS only addresses of loopback are listened on', 'set midcom.simco.tls, or allow-plain: true')
    }
  }
  betweenAddresses(data, found)
}

const AGENT = 'midcom.agents[].'
const FILES = ['midcom.simco.tls.cert', 'midcom.simco.tls.key', 'midcom.simco.tls.ca', 'midcom.pdp.ca', 'midcom.pdp.token-file']

function suggestName(written: string, names: ReadonlyMap<unknown, string>): string {
  const near = nearest(written, [...names.keys()].filter(name => typeof name === 'string'))
  return near === null ? 'add it to midcom.agents' : `did you mean ${near}?`
}

function keyFileFault(path: string): string | null {
  try {
    const parsed = parseKey(readFileSync(path, 'utf8'))
    return parsed.ok ? null : `${path}: ${parsed.message}`
  } catch (error) {
    return `${path}: ${systemReason(error as NodeJS.ErrnoException)}`
  }
}

function fileFault(path: string): string | null {
  try {
    readFileSync(path)
    return null
  } catch (error) {
    return `${path}: ${systemReason(error as NodeJS.ErrnoException)}`
  }
}

/** Policy and the dynamic mappings each own their addresses and ports. */
function betweenAddresses(data: unknown, found: Found): void {
  const nat44 = setting(data, 'nat.nat44') !== false
  const pool = entries(data, 'nat.pool', usableRange)
  const addresses = entries(data, 'midcom.addresses', usableRange)
  const insidePool = entries(data, 'midcom.inside-pool', usableRange)
  const inside = entries(data, 'inside', parsePrefix).filter(({ value }) => value.version === 4)
    .map(({ pointer, value }) => ({ pointer, value: prefixRange(value) }))
  for (const [path, list] of [['midcom.addresses', addresses], ['midcom.inside-pool', insidePool]] as const) {
    const many = list.reduce((n, { value }) => n + value.last - value.first + 1, 0)
    if (many > POOL_MOST) {
      found([`/${path.replace('.', '/')}`], `${many} addresses are too many (0 to ${POOL_MOST})`, 'write a shorter range or prefix')
    }
    if (!nat44 && list.length > 0) found([list[0]!.pointer], 'without nat.nat44 no address is translated', 'remove it')
  }
  if (!nat44) return
  const apart = (list: typeof pool, others: typeof pool, what: string) => {
    for (const [i, { pointer, value }] of list.entries()) {
      for (const other of others === list ? list.slice(0, i) : others) {
        const both = overlap(value, other.value)
        if (both === null) continue
        found([pointer, other.pointer], `${rangeToText(both)} is ${what}`, `${pathOf(other.pointer)} holds it already`)
        break
      }
    }
  }
  apart(addresses, pool, 'in nat.pool too')
  apart(addresses, addresses, 'in the list twice')
  apart(addresses, inside, 'both an outside address and inside')
  apart(insidePool, pool, 'in nat.pool too')
  apart(insidePool, addresses, 'in midcom.addresses too')
  apart(insidePool, insidePool, 'in the list twice')
  const own = usableIpv4(String(setting(data, 'box.inside-address')))
  const box = own.ok ? [{ pointer: '/box/inside-address', value: { first: own.value >>> 0, last: own.value >>> 0 } }] : []
  apart(addresses, box, 'the address of the box')
  apart(insidePool, box, 'the address of the box')
  if (setting(data, 'midcom.service') === 'twice' && insidePool.length === 0) {
    found(['/midcom/service'], 'twice-NAT needs addresses that stand for outside hosts',
      'set midcom.inside-pool, or write traditional')
  }
  const dynamic = parsePorts(String(setting(data, 'nat.ports')), 1024, 65535)
  const reserved = parsePorts(String(setting(data, 'midcom.ports')), 1, 65535)
  if (dynamic.ok && reserved.ok && reserved.value.first <= dynamic.value.first && reserved.value.last >= dynamic.value.last) {
    found(['/midcom/ports', '/nat/ports'], 'midcom.ports leaves no port of nat.ports to other flows', 'write a part of them')
  }
}
