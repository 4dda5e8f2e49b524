/**
 * A data plane that only keeps account of its commands and refuses one that cannot be: a rule number that is taken, a port that is
 * bound twice, an end of what is not there. It knows nothing of policy, so it judges core and model alike.
 */
import type { Command } from './commands.ts'

export class AccountingPlane {
  readonly rules = new Set<number>()
  /** From what is bound to what it is bound to, both as texts, each way. */
  readonly bound = new Map<string, string>()

  carryOut(command: Command): void {
    const { op, rule, protocol, count, local, localPort, outside, outsidePort, peer, peerPort, inside, insidePort } = command
    const [verb, ...kind] = op.split('-')
    switch (op) {
      case 'rule-add':
        this.expect(!this.rules.has(Number(rule)), command)
        this.rules.add(Number(rule))
        break
      case 'rule-delete': this.expect(this.rules.delete(Number(rule)), command); break
      case 'bind-ports':
      case 'unbind-ports':
        this.each(verb, count, command, i => [`A0 ${protocol} ${local} ${Number(localPort) + i}`,
          `A2 ${protocol} ${outside} ${Number(outsidePort) + i}`])
        break
      case 'bind-address':
      case 'unbind-address': this.each(verb, 1, command, () => [`A0 ${local}`, `A2 ${outside}`]); break
      case 'bind-inside':
      case 'unbind-inside':
        if (count === 0) this.each(verb, 1, command, () => [`A3 ${peer}`, `A1 ${inside}`])
        else {
          this.each(verb, count, command, i => [`A3 ${protocol} ${peer} ${Number(peerPort) + i}`,
            `A1 ${protocol} ${inside} ${Number(insidePort) + i}`])
        }
        break
      default: throw new Error(`no command: ${kind.join('-')} ${op}`)
    }
  }

  /** Ports of hosts behind the box that are bound. */
  get boundPorts(): number { return [...this.bound.keys()].filter(key => /^A0 \d+ \S+ \d+$/.test(key)).length }

  private each(verb: string, count: string | number, command: Command, pair: (i: number) => [string, string]): void {
    for (let i = 0; i < Number(count); i++) {
      const [real, shown] = pair(i)
      if (verb === 'bind') {
        this.expect(!this.bound.has(real) && !this.bound.has(shown), command)
        this.bound.set(real, shown).set(shown, real)
      } else {
        this.expect(this.bound.get(real) === shown, command)
        this.bound.delete(real)
        this.bound.delete(shown)
      }
    }
  }

  private expect(holds: boolean, command: Command): void {
    if (!holds) throw new Error('the data plane cannot carry out ' + JSON.stringify(command))
  }
}
