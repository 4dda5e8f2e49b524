/** A filter as a tree: what the parser makes and the matcher compiles. */
import type { DropReason } from '../../channel/reasons.ts'
import type { Header } from './names.ts'

export type Dir = 'src' | 'dst' | 'either' | 'both'

export type Expr =
  | { kind: 'and' | 'or'; left: Expr; right: Expr }
  | { kind: 'not'; of: Expr }
  /** `family`: where the address is looked for; any: in IP of its version, for IPv4 in ARP too. */
  | { kind: 'address'; family: 'any' | 'ip' | 'ip6' | 'arp'; dir: Dir; version: 4 | 6; words: Int32Array; masks: Int32Array }
  | { kind: 'mac'; dir: Dir; octets: readonly number[] }
  | { kind: 'cast'; family: 'ether' | 'ip' | 'ip6'; what: 'multicast' | 'broadcast' }
  /** TCP, UDP and SCTP, or one of them. */
  | { kind: 'port'; version: 4 | 6 | null; protocols: readonly number[]; dir: Dir; low: number; high: number }
  | { kind: 'protocol'; version: 4 | 6 | null; number: number }
  | { kind: 'net'; what: 'ip' | 'ip6' | 'arp' }
  | { kind: 'ethertype'; number: number }
  | { kind: 'vlan'; id: number | null }
  | { kind: 'fragment' }
  | { kind: 'compare'; relation: Relation; left: Arithmetic; right: Arithmetic }
  | Own

/** What only this program knows of a packet. */
export type Own =
  | { kind: 'verdict'; what: 'drop' | 'sent' | 'held' }
  | { kind: 'reason'; name: DropReason }
  | { kind: 'side'; what: 'inside' | 'outside' }
  | { kind: 'to'; what: 'inside' | 'outside' }
  | { kind: 'new' | 'answered' | 'hairpin' }
  | { kind: 'rule'; name: string }

export type Relation = '=' | '!=' | '<' | '>' | '<=' | '>='

export type Arithmetic =
  | { kind: 'number'; value: number }
  | { kind: 'length' }
  | { kind: 'load'; header: Header; at: Arithmetic; bytes: 1 | 2 | 4 }
  | { kind: 'binary'; sign: BinarySign; left: Arithmetic; right: Arithmetic }
  | { kind: 'minus'; of: Arithmetic }

export type BinarySign = '+' | '-' | '*' | '/' | '%' | '&' | '|' | '^' | '<<' | '>>'
