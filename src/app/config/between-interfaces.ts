/** What no schema can say of `interfaces`. */
import type { Address, Prefix } from '../../base/address.ts'
import { parsePrefix } from './address.ts'
import type { Found } from './document.ts'
import {
  interfaceFaults, NO_VLAN, parseHostAddress, parseInterfaceAddress, parseVlan, type InterfacesConfig,
} from './interfaces.ts'
import { setting } from './schema.ts'
import { usableRange } from './values.ts'
import { entries } from './written.ts'

export function betweenInterfaces(data: unknown, found: Found): void {
  const name = (side: string) => String(setting(data, `interfaces.${side}.name`))
  const vlan = (side: string) => {
    const parsed = parseVlan(String(setting(data, `interfaces.${side}.vlan`)))
    // What cannot be read, which is told already, is like no other one.
    return parsed.ok ? parsed.value : setting(data, `interfaces.${side}.vlan`) === NO_VLAN ? 0 : NaN
  }
  const isNamed = name('inside') !== '' || name('outside') !== ''
  const addresses = (side: string) => entries(data, `interfaces.${side}.addresses`, parseInterfaceAddress).map(({ value }) => value)
  const gateways = entries(data, 'interfaces.gateways', parseHostAddress).map(({ value }) => value)
  const written = setting(data, 'interfaces.routes')
  const routes = Array.isArray(written) ? written as unknown[] : []
  if (!isNamed) {
    const vlans = (side: string) => vlan(side) > 0 ? [vlan(side)] : []
    const left = [['inside.addresses', addresses('inside')], ['outside.addresses', addresses('outside')], ['gateways', gateways],
      ['routes', routes], ['inside.vlan', vlans('inside')], ['outside.vlan', vlans('outside')]] as const
    for (const [path, list] of left) {
      if (list.length === 0) continue
      found([`/interfaces/${path.replace('.', '/')}`], 'no interface is named',
        'set interfaces.inside.name and interfaces.outside.name')
    }
    return
  }
  const interfaces: InterfacesConfig = {
    inside: { name: name('inside'), vlan: vlan('inside'), addresses: addresses('inside') },
    outside: { name: name('outside'), vlan: vlan('outside'), addresses: addresses('outside') },
    gateways, routes: routes.flatMap(routeOf), driver: 'auto',
  }
  const pool = setting(data, 'nat.nat44') === false ? [] : entries(data, 'nat.pool', usableRange).map(({ value }) => value)
  for (const { path, message, suggestion } of interfaceFaults(interfaces, pool)) {
    const pointer = `/interfaces/${path.replaceAll('.', '/')}`
    found([pointer, '/interfaces'], message, suggestion)
  }
}

/** None, if it cannot be read: that is told already. */
function routeOf(entry: unknown): { to: Prefix; via: Address }[] {
  const to = parsePrefix(String(setting(entry, 'to', ROUTE))), via = parseHostAddress(String(setting(entry, 'via', ROUTE)))
  return to.ok && via.ok ? [{ to: to.value, via: via.value }] : []
}

const ROUTE = 'interfaces.routes[].'
