/**
 * Which flows belong to which rule: a list for each rule and direction, whose nodes are (flow, direction), 12 bytes
 * each. A flow belongs to at most one rule in a direction. Without rules there are no lists.
 */
export type RuleLinks = ReturnType<typeof createRuleLinks>

/** @param flows slots 1 … flows  @param rules rules 1 … rules; 0: none at all */
export function createRuleLinks(flows: number, rules: number) {
  const nodes = rules === 0 ? 0 : (flows + 1) * 2
  const rule = new Int32Array(nodes), next = new Int32Array(nodes), prev = new Int32Array(nodes)
  // By rule * 2 + direction: the node that was linked last.
  const heads = new Int32Array((rules + 1) * 2)

  function link(slot: number, dir: number, number: number): void {
    const node = slot * 2 + dir
    const head = heads[number * 2 + dir]
    rule[node] = number
    next[node] = head
    prev[node] = 0
    if (head !== 0) prev[head] = node
    heads[number * 2 + dir] = node
  }

  function unlink(slot: number, dir: number): void {
    const node = slot * 2 + dir
    const number = rule[node]
    if (number === 0) return
    if (next[node] !== 0) prev[next[node]] = prev[node]
    if (prev[node] !== 0) next[prev[node]] = next[node]
    else heads[number * 2 + dir] = next[node]
    rule[node] = 0
  }

  return {
    link, unlink,
    unlinkFlow(slot: number): void {
      unlink(slot, 0)
      unlink(slot, 1)
    },
    /** The rule of a flow in a direction, or 0. */
    ruleOf: (slot: number, dir: number) => rule[slot * 2 + dir],
    /** The flow that was linked last, or 0. */
    first: (number: number, dir: number) => heads[number * 2 + dir] >>> 1,
    bytes: 4 * (3 * nodes + heads.length),
  }
}
