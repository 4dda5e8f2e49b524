/** What the options and arguments of `pinhole ctl` may be. */
import { readFileSync } from 'node:fs'
import { InvalidArgumentError } from 'commander'
import {
  parseEndpoint, parseProtocol, SIMCO_PORT, type ConnectOptions, type Endpoint, type TlsOptions,
} from '../../control/simco/agent.ts'
import { systemReason } from '../../phy/capture-error.ts'
import { parseDuration } from '../config/quantity.ts'
import { parseKey } from '../config/values.ts'
import { Failure, STATUS } from './status.ts'

/** Options of `pinhole ctl` itself, which each of its commands has. */
export interface CtlFlags {
  server: Server
  tls?: true
  ca?: string
  cert?: string
  key?: string
  agent?: string
  keyFile?: string
  timeout: number
  json?: true
}

export interface Server { host: string; port: number }

const MOST_U32 = 0xffffffff

/** `host:port`, `[address]:port`, or a host alone. */
export function server(text: string): Server {
  const [, bracketed, bare, port] = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text) ?? []
  const host = bracketed ?? bare ?? (/^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*$/.test(text) ? text : undefined)
  const number = port === undefined ? SIMCO_PORT : Number(port)
  if (host === undefined || number < 1 || number > 65_535) {
    throw new InvalidArgumentError('Expected host:port, such as 192.0.2.1:7626 or [2001:db8::1]:7626.')
  }
  return { host, port: number }
}

export function serverText({ host, port }: Server): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Milliseconds. */
export function timeout(text: string): number {
  const parsed = parseDuration(text)
  if (parsed.ok && parsed.value >= 1 && parsed.value < 2 ** 31) return parsed.value
  throw new InvalidArgumentError('Expected a duration, such as 500ms or 10s.')
}

/** Seconds: a number of them, or a duration. */
export function seconds(text: string): number {
  const parsed = parseDuration(/^\d+$/.test(text) ? `${text}s` : text)
  if (parsed.ok && parsed.value % 1000 === 0 && parsed.value / 1000 <= MOST_U32) return parsed.value / 1000
  throw new InvalidArgumentError('Expected seconds, or a duration such as 5m.')
}

export function endpoint(text: string): Endpoint {
  const parsed = parseEndpoint(text)
  if (parsed.ok) return parsed.value
  throw new InvalidArgumentError(`Column ${parsed.column}: ${parsed.reason}.`)
}

export function protocol(text: string): number {
  const parsed = parseProtocol(text)
  if (parsed.ok) return parsed.value
  throw new InvalidArgumentError('Expected udp, tcp, another name such as gre, any, or a number from 0 to 255.')
}

/** A number of a rule or a group. */
export function identifier(text: string): number {
  if (/^\d{1,10}$/.test(text) && Number(text) <= MOST_U32) return Number(text)
  throw new InvalidArgumentError('Expected a whole number from 0 to 2^32-1.')
}

export function identifiers(text: string, before: number[] | undefined): number[] {
  return [...before ?? [], identifier(text)]
}

export function ports(text: string): number | 'all' {
  if (text === 'all') return text
  if (/^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) < 65_535) return Number(text)
  throw new InvalidArgumentError('Expected all, or a whole number from 1 to 65534.')
}

export function version(text: string): 4 | 6 {
  if (text === '4' || text === '6') return Number(text) as 4 | 6
  throw new InvalidArgumentError('Expected 4 or 6.')
}

export function count(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('A whole number from 1 to 999,999,999 is needed.')
}

/** How to connect, from the options; reads the files they name. */
export function connectOptions(flags: CtlFlags, signal: AbortSignal): ConnectOptions {
  const { agent, keyFile, timeout: timeoutMs } = flags
  if ((agent === undefined) !== (keyFile === undefined)) throw new Failure(STATUS.usage, '--agent and --key-file come together')
  if ((flags.cert === undefined) !== (flags.key === undefined)) throw new Failure(STATUS.usage, '--cert and --key come together')
  const options: ConnectOptions = { connectTimeoutMs: timeoutMs, requestTimeoutMs: timeoutMs, signal }
  if (flags.tls === true || flags.ca !== undefined || flags.cert !== undefined) {
    const tls: TlsOptions = {}
    for (const name of ['ca', 'cert', 'key'] as const) {
      const path = flags[name]
      if (path !== undefined) tls[name] = read(path)
    }
    options.tls = tls
  }
  if (agent !== undefined && keyFile !== undefined) {
    const key = parseKey(read(keyFile))
    if (!key.ok) throw new Failure(STATUS.usage, `${keyFile}: ${key.message}`)
    options.sharedKey = { name: agent, key: key.value }
  }
  return options
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new Failure(STATUS.usage, `cannot read ${path}: ${systemReason(error as Error)}`, { cause: error })
  }
}
