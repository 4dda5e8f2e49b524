/** What no schema can say of the section `nat`: addresses that would be two things at once, sides that do not go together. */
import { parsePrefix, prefixRange, rangeToText, type Range } from './address.ts'
import { pathOf, type Found } from './document.ts'
import { hostsText, parseEnd, parseHosts, parseSpan, rangeOf, type End } from './ends.ts'
import { parseCount, parsePorts } from './quantity.ts'
import { setting } from './schema.ts'
import { usableIpv4, usableRange } from './values.ts'
import { entries, overlap, POOL_MOST } from './written.ts'

/** Addresses with a purpose, and where the file gives it to them. */
interface Claim { pointer: string; value: Range; what: string }
interface Entry { pointer: string; data: unknown }

const FIXED_MOST = 65_536

export function betweenNat(data: unknown, found: Found): void {
  const listOf = (path: string): Entry[] => {
    const list = setting(data, `nat.${path}`)
    return (Array.isArray(list) ? list : []).map((entry: unknown, i) => ({ pointer: `/nat/${path}/${i}`, data: entry }))
  }
  const [pools, statics, forwards, untranslated, aliases] =
    ['pools', 'static', 'forwards', 'untranslated', 'aliases'].map(listOf) as [Entry[], Entry[], Entry[], Entry[], Entry[]]
  if (setting(data, 'nat.nat44') === false) {
    for (const list of [pools, statics, forwards, untranslated, aliases]) {
      if (list.length > 0) found([list[0]!.pointer], 'without nat.nat44 no IPv4 address is translated', 'remove it')
    }
    return
  }
  const inside = entries(data, 'inside', parsePrefix).filter(({ value }) => value.version === 4)
    .map(({ value }) => prefixRange(value))
  const isInside = (range: Range) => inside.some((one) => one.first <= range.first && one.last >= range.last)
  const own = usableIpv4(String(setting(data, 'box.inside-address')))
  const claims: Claim[] = entries(data, 'nat.pool', usableRange).map((one) => ({ ...one, what: 'in nat.pool' }))
  const box = own.ok ? rangeOf({ address: own.value, bits: 32 }) : null
  if (box !== null) claims.push({ pointer: '/box/inside-address', value: box, what: 'the address of the box' })
  if (setting(data, 'midcom.enabled') === true) {
    for (const path of ['midcom.addresses', 'midcom.inside-pool']) {
      claims.push(...entries(data, path, usableRange).map((one) => ({ ...one, what: `in ${path}` })))
    }
  }

  /** Outside addresses for one purpose more. False: something is wrong with them. */
  function claim(pointer: string, value: Range, what: string): boolean {
    const other = claims.find((one) => overlap(one.value, value) !== null)
    if (other !== undefined) {
      found([pointer], `${rangeToText(overlap(other.value, value)!)} is ${other.what} already`, `see ${pathOf(other.pointer)}`)
      return false
    }
    const clash = inside.find((one) => overlap(one, value) !== null)
    if (clash !== undefined) {
      found([pointer], `${rangeToText(overlap(clash, value)!)} is inside`, 'outside addresses must not be inside ones')
      return false
    }
    claims.push({ pointer, value, what })
    return true
  }

  const seen = new Map<string, string>()
  const ofPool = claims.filter(({ what }) => what === 'in nat.pool').reduce((n, { value }) => n + count(value), 0)
  let addresses = ofPool
  for (const { pointer, data: entry } of pools) {
    for (const { pointer: at, value } of items(entry, pointer, 'inside', parseHosts)) {
      const text = hostsText(value), before = seen.get(text)
      if (before !== undefined) found([at], `${text} has a pool already`, `see ${pathOf(before)}`)
      else seen.set(text, at)
    }
    for (const { pointer: at, value } of items(entry, pointer, 'addresses', usableRange)) {
      addresses += claim(at, value, 'in a pool') ? count(value) : 0
    }
  }
  const isShared = (address: number) => claims.some(({ what, value }) => /pool$/.test(what) && what !== 'in midcom.inside-pool'
    && value.first <= address && value.last >= address)

  const staticInside: { pointer: string; value: Range }[] = []
  let fixed = 0
  for (const { pointer, data: entry } of statics) {
    const [from, to] = [read(entry, 'inside', parseHosts), read(entry, 'outside', parseHosts)]
    if (from === null || to === null) continue
    if (from.bits !== to.bits) {
      found([`${pointer}/outside`], `/${to.bits} and /${from.bits} have not as many addresses`, `write a /${from.bits}`)
      continue
    }
    const usable = usableRange(hostsText(to))
    if (!usable.ok) { found([`${pointer}/outside`], usable.message); continue }
    const range = rangeOf(from), twice = staticInside.find(({ value }) => overlap(value, range) !== null)
    if (!isInside(range)) found([`${pointer}/inside`], `${hostsText(from)} is not inside`, 'add it to inside')
    if (twice !== undefined) {
      found([`${pointer}/inside`], `${rangeToText(overlap(twice.value, range)!)} has a static address already`,
        `see ${pathOf(twice.pointer)}`)
    }
    staticInside.push({ pointer, value: range })
    if (claim(`${pointer}/outside`, rangeOf(to), 'a static address')) fixed += count(range)
  }
  if (fixed > FIXED_MOST) found(['/nat/static'], `${fixed} addresses are too many (0 to ${FIXED_MOST})`)

  betweenPorts()
  betweenForwards()
  // Of a pool that is too large by itself betweenSettings tells.
  if (addresses > POOL_MOST && ofPool <= POOL_MOST) {
    found(['/nat/pools', '/nat/forwards'], `${addresses} addresses of pools and forwards are too many (1 to ${POOL_MOST})`)
  }
  betweenAliases()

  /** Ports that hosts have alone: there are some, for every host. */
  function betweenPorts(): void {
    const dynamic = parsePorts(String(setting(data, 'nat.ports')), 1024, 65535)
    const block = parseCount(String(setting(data, 'nat.port-block')))
    if (!dynamic.ok || !block.ok) return
    const { first, last } = dynamic.value, all = last - first + 1
    if (block.value > all) found(['/nat/port-block', '/nat/ports'], `nat.ports has ${all} ports, which is less than a block`)
    const kept = entries(data, 'nat.reserve', (text) => parsePorts(text, 1, 65535))
    const agents = parsePorts(String(setting(data, 'midcom.ports')), 1, 65535)
    if (setting(data, 'midcom.enabled') === true && agents.ok) kept.push({ pointer: '/midcom/ports', value: agents.value })
    for (const { pointer, data: entry } of pools) {
      const share = parseCount(String(setting(entry, 'hosts-per-address', 'nat.pools[].'))), at = `${pointer}/hosts-per-address`
      if (!share.ok || share.value === 0) continue
      if (block.value > 0) {
        found([at], 'each host has its part of the ports, and no blocks', 'remove it, or nat.port-block')
        continue
      }
      const hosts = items(entry, pointer, 'inside', parseHosts).reduce((n, { value }) => n + count(rangeOf(value)), 0)
      const places = items(entry, pointer, 'addresses', usableRange).reduce((n, { value }) => n + count(value), 0) * share.value
      if (hosts > places) found([at], `${hosts} hosts are more than ${places}, for whom there are addresses`, 'add addresses')
      const each = Math.floor(all / share.value)
      if (each === 0) {
        found([at], `nat.ports has ${all} ports, which is less than one for each host`)
        continue
      }
      const lost = kept.find(({ value }) => Math.ceil((Math.max(value.first, first) - first) / each) * each + each - 1 + first
        <= Math.min(value.last, first + each * share.value - 1))
      if (lost !== undefined) found([at], `${pathOf(lost.pointer)} leaves some hosts no port`, 'keep it out of nat.ports')
    }
  }

  function betweenForwards(): void {
    const kept = parsePorts(String(setting(data, 'midcom.ports')), 1, 65535)
    const agents = setting(data, 'midcom.enabled') === true && kept.ok ? kept.value : null
    const taken: { pointer: string; end: End; protocol: unknown }[] = []
    const shared = new Set<number>()
    let all = 0
    for (const { pointer, data: entry } of forwards) {
      const [to, from] = [read(entry, 'outside', parseSpan), read(entry, 'inside', parseSpan)]
      const protocol = setting(entry, 'protocol', 'nat.forwards[].')
      if (to === null || from === null) continue
      if (to.last - to.first !== from.last - from.first) {
        found([`${pointer}/inside`], `${from.last - from.first + 1} ports cannot stand for ${to.last - to.first + 1}`,
          'write as many ports on both sides')
        continue
      }
      const range = rangeOf(from)
      const whole = staticInside.find(({ value }) => overlap(value, range) !== null)
      if (!isInside(range)) found([`${pointer}/inside`], `${hostsText(from)} is not inside`, 'add it to inside')
      else if (whole !== undefined) {
        found([`${pointer}/inside`], `${hostsText(from)} has a static address already`, `see ${pathOf(whole.pointer)}`)
      }
      const twice = taken.find(({ end, protocol: other }) => end.address === to.address && end.first <= to.last
        && to.first <= end.last && (other === protocol || other === 'both' || protocol === 'both'))
      if (twice !== undefined) {
        found([`${pointer}/outside`], `these ports are forwarded already`, `see ${pathOf(twice.pointer)}`)
      }
      taken.push({ pointer, end: to, protocol })
      all += (to.last - to.first + 1) * (protocol === 'both' ? 2 : 1)
      const address = to.address >>> 0
      if (isShared(address)) {
        if (agents !== null && agents.first <= to.last && agents.last >= to.first) {
          found([`${pointer}/outside`], 'these ports are kept for rules of agents', 'change midcom.ports')
        }
      } else if (!shared.has(address) && claim(`${pointer}/outside`, rangeOf(to), 'an address of forwards')) {
        shared.add(address)
        addresses++
      }
    }
    if (all > FIXED_MOST) found(['/nat/forwards'], `${all} ports are too many (0 to ${FIXED_MOST})`)
  }

  function betweenAliases(): void {
    const ends: { pointer: string; end: End; protocol: unknown }[] = []
    const isSame = (a: End, b: End, protocolA: unknown, protocolB: unknown) => overlap(rangeOf(a), rangeOf(b)) !== null
      && (a.first < 0) === (b.first < 0) && a.first <= b.last && b.first <= a.last
      && (protocolA === protocolB || protocolA === 'both' || protocolB === 'both')
    let all = 0
    for (const { pointer, data: entry } of aliases) {
      const [alias, real] = [read(entry, 'alias', parseEnd), read(entry, 'outside', parseEnd)]
      const protocol = setting(entry, 'protocol', 'nat.aliases[].')
      if (alias === null || real === null) continue
      const isLike = alias.bits === real.bits && alias.last - alias.first === real.last - real.first
      if (!isLike || (alias.first < 0) !== (real.first < 0)) {
        found([`${pointer}/alias`], 'the two sides have not as many addresses and ports')
        continue
      }
      const mine = claims.find(({ value }) => overlap(value, rangeOf(alias)) !== null)
      if (mine !== undefined) found([`${pointer}/alias`], `${hostsText(alias)} is ${mine.what} already`,
        `see ${pathOf(mine.pointer)}`)
      if (inside.some((one) => overlap(one, rangeOf(real)) !== null)) {
        found([`${pointer}/outside`], `${hostsText(real)} is inside`, 'an alias stands for an outside host')
      }
      for (const [key, end] of [['alias', alias], ['outside', real]] as const) {
        const twice = ends.find((one) => one.pointer.endsWith(key) && isSame(one.end, end, one.protocol, protocol))
        const where = twice === undefined ? '' : pathOf(twice.pointer)
        if (twice !== undefined) found([`${pointer}/${key}`], `${hostsText(end)} is in the list twice`, `see ${where}`)
        ends.push({ pointer: `${pointer}/${key}`, end, protocol })
      }
      all += alias.first < 0 ? count(rangeOf(alias)) : (alias.last - alias.first + 1) * (protocol === 'both' ? 2 : 1)
    }
    if (all > FIXED_MOST) found(['/nat/aliases'], `${all} aliases are too many (0 to ${FIXED_MOST})`)
  }
}

function count({ first, last }: Range): number {
  return last - first + 1
}

/** A setting of an entry that the schema has found good, or null. */
function read<T>(entry: unknown, key: string, parse: (text: string) => { ok: true; value: T } | { ok: false }): T | null {
  const written = (entry as Record<string, unknown> | null)?.[key]
  const parsed = typeof written === 'string' ? parse(written) : { ok: false as const }
  return parsed.ok ? parsed.value : null
}

/** The items of a list in an entry that parse. */
function items<T>(
  entry: unknown, pointer: string, key: string, parse: (text: string) => { ok: true; value: T } | { ok: false },
): { pointer: string; value: T }[] {
  const list = (entry as Record<string, unknown> | null)?.[key]
  return (Array.isArray(list) ? list : []).flatMap((written: unknown, i) => {
    const parsed = typeof written === 'string' ? parse(written) : { ok: false as const }
    return parsed.ok ? [{ pointer: `${pointer}/${key}/${i}`, value: parsed.value }] : []
  })
}
