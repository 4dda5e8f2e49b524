/** Slots 1 … limit and the identifiers that name their present use, for the slow model. */
export class Slots {
  private readonly free: number[]
  private readonly bits: number
  private readonly generations = new Map<number, number>()

  constructor(limit: number) {
    this.free = Array.from({ length: limit }, (_, i) => limit - i)
    this.bits = limit.toString(2).length
  }

  get isFull(): boolean { return this.free.length === 0 }

  take(): { slot: number; id: number } {
    const slot = this.free.pop()!
    const generation = this.generations.has(slot) ? (this.generations.get(slot)! + 1) % 2 ** (31 - this.bits) : 0
    this.generations.set(slot, generation)
    return { slot, id: generation * 2 ** this.bits + slot }
  }

  release(slot: number): void { this.free.push(slot) }
}
