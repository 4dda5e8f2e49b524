/**
 * A bounded queue between those who tell and one who reads with `for await`. A reader that is too slow loses events, and sees
 * where: in place of what was lost stands one marker that says how many.
 */
export interface Overflow { kind: 'overflow'; lost: number }

export interface EventQueue<T> extends AsyncIterableIterator<T | Overflow, undefined, undefined> {
  push(event: T): void
  /** No more events come: the reader gets what is left, then the end. */
  finish(): void
  return(): Promise<IteratorReturnResult<undefined>>
}

/**
 * @param capacity events and markers kept for the reader, 1 or more; the last marker may be kept beyond it
 * @param onReturn the reader has left
 */
export function createEventQueue<T>(capacity: number, onReturn: () => void): EventQueue<T> {
  const kept: (T | Overflow)[] = []
  const readers: ((result: IteratorResult<T | Overflow, undefined>) => void)[] = []
  let marker: Overflow | null = null
  let finished = false

  const queue: EventQueue<T> = {
    push(event) {
      if (finished) return
      const reader = readers.shift()
      if (reader !== undefined) return reader({ done: false, value: event })
      if (kept.length < capacity) {
        kept.push(event)
        marker = null
      } else if (marker !== null) marker.lost++
      else kept.push(marker = { kind: 'overflow', lost: 1 })
    },
    finish() {
      finished = true
      for (const reader of readers.splice(0)) reader({ done: true, value: undefined })
    },
    next() {
      const value = kept.shift()
      if (value !== undefined) {
        if (value === marker) marker = null
        return Promise.resolve({ done: false, value })
      }
      if (finished) return Promise.resolve({ done: true, value: undefined })
      return new Promise((resolve) => readers.push(resolve))
    },
    return() {
      kept.length = 0
      queue.finish()
      onReturn()
      return Promise.resolve({ done: true, value: undefined })
    },
    [Symbol.asyncIterator]: () => queue,
  }
  return queue
}
