/** Root is needed to open interfaces and doors; what comes after does without. */
import { spawnSync } from 'node:child_process'
import { Failure, STATUS } from '../cli/status.ts'

export interface Identity {
  uid: number
  gid: number
  /** Makes the process that user, with its groups, for good. */
  become(): void
}

/** Looks the user up. @throws Failure */
export function asUser(name: string): Identity {
  if (process.getuid?.() !== 0) throw new Failure(STATUS.usage, `--user ${name}: only root can become another user`)
  // The system knows users of more than one file.
  const ask = (what: string) => Number(spawnSync('id', [what, '--', name], { encoding: 'utf8' }).stdout?.trim() || NaN)
  const user = ask('-u'), group = ask('-g')
  if (Number.isNaN(user) || Number.isNaN(group)) throw new Failure(STATUS.usage, `--user ${name}: there is no such user`)
  if (user === 0) throw new Failure(STATUS.usage, `--user ${name}: this is root again`)
  const { initgroups } = process as unknown as { initgroups(user: number, group: number): void }
  return {
    uid: user, gid: group,
    become() {
      initgroups(user, group)
      process.setgid!(group)
      process.setuid!(user)
    },
  }
}
