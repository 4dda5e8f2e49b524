/** The configuration of the box under load: what `pinhole init` offers, with agents that may do all, and room for their rules. */
export interface BoxNeeds {
  port: number
  agents: number
  /** At once. */
  rules: number
}

/** The same in load.c. */
export const agentName = (i: number) => `agent-${i}`
export const agentKey = (i: number) => Buffer.from(`key of load agent ${i}`)

/** Ports for rules on each of the pool's four addresses. */
export const RULE_PORTS = '10000-59999'

/** YAML; JSON is a part of it. */
export function boxConfig({ port, agents, rules }: BoxNeeds): string {
  return JSON.stringify({
    midcom: {
      enabled: true,
      ports: RULE_PORTS,
      limits: { rules, 'bound-ports': rules },
      agents: Array.from({ length: agents }, (_, i) => ({ name: agentName(i), key: agentKey(i).toString('hex') })),
      simco: { listen: [`127.0.0.1:${port}`] },
    },
  }, null, 2) + '\n'
}
