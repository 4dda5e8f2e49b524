/**
 * What the timer wheel must do, on a sorted list: a record ends at the first millisecond that is not before its deadline.
 * Time here is an ordinary number that never wraps.
 */
export interface WheelModel {
  schedule(slot: number, deadline: number): void
  cancel(slot: number): void
  /** The deadline of a record that is scheduled, else null. */
  deadlineOf(slot: number): number | null
  scheduled(): number[]
  /** Takes out what has ended at `now`, in order of deadlines; equal ones in order of slots. */
  expire(now: number): { slot: number; deadline: number }[]
}

export function createWheelModel(): WheelModel {
  let list: { slot: number; deadline: number }[] = []

  function cancel(slot: number): void {
    list = list.filter((one) => one.slot !== slot)
  }

  function schedule(slot: number, deadline: number): void {
    cancel(slot)
    list.push({ slot, deadline })
    list.sort((a, b) => a.deadline - b.deadline || a.slot - b.slot)
  }

  function expire(now: number): { slot: number; deadline: number }[] {
    const ended = list.filter(({ deadline }) => deadline <= now)
    list = list.filter(({ deadline }) => deadline > now)
    return ended
  }

  return {
    schedule, cancel, expire,
    deadlineOf: (slot) => list.find((one) => one.slot === slot)?.deadline ?? null,
    scheduled: () => list.map(({ slot }) => slot),
  }
}
