/**
 * Who is at the other end: addresses as keys of tables, loopback, and names in client certificates. A table of remote addresses
 * counts connections, and others count what fails; those are bounded and forget the oldest.
 */
import { parseAddress } from '../../base/address.ts'
import type { X509Certificate } from 'node:crypto'

/** IPv4 in IPv6 (RFC 4291 2.5.5.2) is IPv4: a listener on :: sees every IPv4 client so. */
const MAPPED = /^::ffff:(?=[0-9.]+$)/i

/** One key for an IPv4 address, one for an IPv6 /64, as a site has a whole one. Any other text is its own key. */
export function remoteKey(address: string): string {
  const parsed = parseAddress(address.replace(/%.*$/, '').replace(MAPPED, ''))
  if (!parsed.ok) return address
  const { version, words } = parsed.value
  return version === 4 ? `${words[0]! >>> 0}` : `${words[0]! >>> 0}:${words[1]! >>> 0}`
}

export function isLoopback(address: string): boolean {
  const parsed = parseAddress(address.replace(MAPPED, ''))
  if (!parsed.ok) return address === 'localhost'
  const { version, words } = parsed.value
  return version === 4 ? words[0]! >>> 24 === 127 : words[0] === 0 && words[1] === 0 && words[2] === 0 && words[3] === 1
}

/**
 * Names in a client certificate as configuration has them, in the order in which they are looked for: URI and DNS alternative
 * names, then the subject's common name.
 */
export function certificateNames(certificate: Pick<X509Certificate, 'subject' | 'subjectAltName'>): string[] {
  const alternatives = (certificate.subjectAltName ?? '').match(/[A-Za-z ]+:(?:"(?:[^"\\]|\\.)*"|[^,]*)/g) ?? []
  const named = (kind: string) => alternatives.map(text => text.trim()).filter(text => text.startsWith(kind + ':'))
    // Values with a comma or a quote in them are JSON strings.
    .map(text => text[kind.length + 1] === '"' ? `${kind}:${JSON.parse(text.slice(kind.length + 1)) as string}` : text)
  const common = (certificate.subject ?? '').split('\n').filter(line => line.startsWith('CN='))
  // Two common names are no name.
  return [...named('URI'), ...named('DNS'), ...common.length === 1 ? [`CN:${common[0]!.slice(3)}`] : []]
}

const WINDOW_MS = 60_000, MOST_REMOTES = 4096

/** What fails a minute by remote: authentications, sessions. Bounded: the remote that failed first is forgotten first. */
export class Failures {
  private readonly table = new Map<string, { count: number; sinceMs: number }>()
  private readonly perMinute: number

  constructor(perMinute: number) { this.perMinute = perMinute }

  get size(): number { return this.table.size }

  isThrottled(remote: string, nowMs: number): boolean {
    const entry = this.table.get(remote)
    if (entry === undefined) return false
    if (nowMs - entry.sinceMs >= WINDOW_MS) {
      this.table.delete(remote)
      return false
    }
    return entry.count >= this.perMinute
  }

  add(remote: string, nowMs: number): void {
    const entry = this.table.get(remote)
    if (entry !== undefined && nowMs - entry.sinceMs < WINDOW_MS) {
      entry.count++
      return
    }
    this.table.delete(remote)
    for (const oldest of this.table.keys()) {
      if (this.table.size < MOST_REMOTES) break
      this.table.delete(oldest)
    }
    this.table.set(remote, { count: 1, sinceMs: nowMs })
  }
}

/** Connections by remote, so at most as many entries as connections. */
export class RemoteConnections {
  private readonly table = new Map<string, number>()

  get size(): number { return this.table.size }
  count(remote: string): number { return this.table.get(remote) ?? 0 }
  add(remote: string): void { this.table.set(remote, this.count(remote) + 1) }
  remove(remote: string): void {
    const left = this.count(remote) - 1
    if (left > 0) this.table.set(remote, left)
    else this.table.delete(remote)
  }
}
