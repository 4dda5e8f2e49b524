/** The configuration of the box under load: what `pinhole init` offers, with agents that may do all, and room for their rules. */
export interface BoxNeeds {
  port: number
  agents: number
  /** At once. */
  rules: number
  /** Agents behind the others, of whom the box has to expect anything: their rules at the most, and how long they may not read. */
  trouble?: { agents: number; rules: number; stalledMs: number; drainMs: number }
}

/** The same in load.c. */
export const agentName = (i: number) => `agent-${i}`
export const agentKey = (i: number) => Buffer.from(`key of load agent ${i}`)

/** Ports for rules on each of the pool's four addresses. */
export const RULE_PORTS = '10000-59999'

/** YAML; JSON is a part of it. */
export function boxConfig({ port, agents, rules, trouble }: BoxNeeds): string {
  const agent = (i: number) => ({ name: agentName(i), key: agentKey(i).toString('hex') })
  const more = Array.from({ length: trouble?.agents ?? 0 }, (_, i) => ({ ...agent(agents + i), 'max-rules': trouble!.rules }))
  const most = rules + (trouble === undefined ? 0 : trouble.agents * trouble.rules)
  return JSON.stringify({
    midcom: {
      enabled: true,
      ports: RULE_PORTS,
      limits: { rules: most, 'bound-ports': most },
      agents: [...Array.from({ length: agents }, (_, i) => agent(i)), ...more],
      simco: {
        listen: [`127.0.0.1:${port}`],
        ...trouble !== undefined && { limits: { stalled: `${trouble.stalledMs}ms`, drain: `${trouble.drainMs}ms` } },
      },
    },
  }, null, 2) + '\n'
}
