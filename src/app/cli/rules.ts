/** `pinhole rules`: firewall rules from one form into the other. */
import { type Command, Option } from 'commander'
import { anyRule, type FirewallRule } from '../../engine/firewall-rule.ts'
import { configOf, readText } from '../config/load.ts'
import { printRule } from '../firewall/ipfilter.ts'
import { strictRules } from '../firewall/strict.ts'
import { looksLikeRules, rulesOf } from '../firewall/text-file.ts'
import { ruleInYaml } from '../firewall/yaml.ts'
import { Failure, STATUS } from './status.ts'

type Form = 'yaml' | 'ipfilter'
const FORMS: Form[] = ['yaml', 'ipfilter']

interface RulesFlags { from?: Form; to?: Form; strict?: true; implied?: true }

export function registerRules(program: Command): void {
  program.command('rules')
    .summary('print firewall rules, as text or YAML')
    .description('Print the firewall rules of a configuration as lines of text (RFC 6733 IPFilterRule), or such lines as YAML.')
    .argument('<file>', 'a configuration, or a file with a rule in each line; - is standard input')
    .addOption(new Option('--from <form>', 'what the file is (default: the other form than --to, else what it looks like)')
      .choices(FORMS))
    .addOption(new Option('--to <form>', 'what is printed (default: the other form than --from, else ipfilter)').choices(FORMS))
    .option('--strict',
      'print only what RFC 6733 has: lists become several rules, names are left out; an error for what cannot be said')
    .option('--implied', 'add the rule that RFC 6733 implies after the last one of each direction')
    .addHelpText('after', `
In a rule, "in" is from an inside host (the terminal of RFC 6733) and "out" is to it. If no rule matches, RFC 6733 drops a packet if
the last rule evaluated was a permit, and passes it if it was a deny; Pinhole goes by firewall.outbound, the filter of the NAT and
firewall.inbound6 instead, unless --implied has written such a rule down.

Examples:
  pinhole rules pinhole.yaml > rules.txt
  pinhole rules rules.txt >> new.yaml`)
    .action((file: string, { from, to, strict, implied }: RulesFlags) => {
      const text = readText(file)
      const source = from ?? (to === 'yaml' || to === undefined && looksLikeRules(text) ? 'ipfilter' : 'yaml')
      const target = to ?? (source === 'yaml' ? 'ipfilter' : 'yaml')
      let rules = source === 'yaml' ? configOf(text, file).firewall.rules : rulesOf(text, file)
      if (implied === true) rules = [...rules, ...impliedRules(rules)]
      if (strict === true) rules = rules.flatMap((rule, i) => strictly(file, rule, i + 1))
      process.stdout.write(target === 'ipfilter' ? rules.map((rule) => printRule(rule) + '\n').join('')
        : rules.length === 0 ? 'firewall:\n  rules: []\n' : `firewall:\n  rules:\n${rules.map(ruleInYaml).join('')}`)
    })
}

function strictly(file: string, rule: FirewallRule, number: number): FirewallRule[] {
  const strict = strictRules(rule)
  if (strict.ok) return strict.rules
  throw new Failure(STATUS.usage, `${file}:${rule.line}: rule ${number} cannot be written so: ${strict.reason}`)
}

/** For each direction with rules, the opposite of its last one. */
function impliedRules(rules: readonly FirewallRule[]): FirewallRule[] {
  return [1, 2].flatMap((direction) => {
    const last = rules.findLast(({ directions }) => (directions & direction) !== 0)
    if (last === undefined) return []
    return [{ ...anyRule(!last.permit), directions: direction }]
  })
}
