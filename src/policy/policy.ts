import type { Policy } from './api.ts'
import type { PolicyOptions } from './options.ts'

export type { PolicyOptions } from './options.ts'

export function createPolicy(options: PolicyOptions): Policy {
  throw new Error('policy core for ' + options.limits.rules + ' rules is being built')
}
