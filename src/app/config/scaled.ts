import type { Config } from './config.ts'

/** Every timer of flows, n times as fast. */
export function scaled(config: Config, n: number): Config {
  if (n === 1) return config
  const faster = (ms: number) => Math.max(1, Math.round(ms / n))
  const { udpPorts, udpInboundRefresh, ...times } = config.timers
  return {
    ...config,
    timers: {
      ...Object.fromEntries(Object.entries(times).map(([name, ms]) => [name, faster(ms)])) as typeof times,
      udpPorts: udpPorts.map(({ port, idleMs }) => ({ port, idleMs: faster(idleMs) })), udpInboundRefresh,
    },
  }
}
