/**
 * Exact time stamps of pcapng. A stamp is 64 bits in units of 10^-n or 2^-n seconds, more than a double holds, so it
 * is divided in four limbs of 16 bits: limb and remainder fit a double at every step.
 */
import { NS_PER_SEC } from './cursor.ts'

/** The quotient of the last division, most significant limb first. */
const limb$ = new Float64Array(4)

function load(hi: number, lo: number): void {
  limb$[0] = hi >>> 16
  limb$[1] = hi & 0xffff
  limb$[2] = lo >>> 16
  limb$[3] = lo & 0xffff
}

/** Divides in place and returns the remainder. `divisor` ≤ 2^32: remainder and limb together stay below 2^48. */
function divide(divisor: number): number {
  let rest = 0
  for (let i = 0; i < 4; i++) {
    const part = rest * 0x10000 + limb$[i]!
    const quotient = Math.floor(part / divisor)
    limb$[i] = quotient
    rest = part - quotient * divisor
  }
  return rest
}

/** As a double: exact up to 2^53, which as seconds is 285 million years. */
function value(): number {
  return ((limb$[0]! * 0x10000 + limb$[1]!) * 0x10000 + limb$[2]!) * 0x10000 + limb$[3]!
}

/** What the last call found: whole seconds, and the rest in nanoseconds (`splitExact`) or in units (`splitUnits`). */
export const stamp$ = new Float64Array(2)
export const SEC = 0, REST = 1

/** 128 bits behind the point in limbs of 16, most significant first. */
const fraction$ = new Float64Array(8)

/** Seconds and remaining units, for up to 10^9 units a second. */
export function splitUnits(hi: number, lo: number, unitsPerSec: number): void {
  load(hi, lo)
  stamp$[REST] = divide(unitsPerSec)
  stamp$[SEC] = value()
}

/** Any resolution, as if_tsresol codes it: bit 7 chooses base 2, the rest is the negative exponent. Truncates to ns. */
export function splitExact(hi: number, lo: number, tsresol: number): void {
  load(hi, lo)
  const exponent = tsresol & 0x7f
  if (tsresol >= 0x80) return splitBinary(exponent)
  for (let digits = exponent; digits > 9; digits--) divide(10)
  const digits = Math.min(exponent, 9)
  stamp$[REST] = divide(10 ** digits) * 10 ** (9 - digits)
  stamp$[SEC] = value()
}

/** Multiplies the fraction by 10^9 limb by limb, then shifts: floor(fraction × 10^9 / 2^bits). */
function splitBinary(bits: number): void {
  // Seconds are what is left of the point. Each round shifts by up to 16 and keeps what falls out below.
  fraction$.fill(0)
  for (let left = bits; left > 0; left -= 16) {
    const step = Math.min(left, 16)
    const out = divide(2 ** step) * 2 ** (16 - step)
    // What falls out later is more significant: move the fraction down by `step` bits and put it on top.
    let carry = 0
    for (let i = 0; i < 8; i++) {
      const part = fraction$[i]! + carry * 0x10000
      fraction$[i] = Math.floor(part / 2 ** step)
      carry = part % 2 ** step
    }
    fraction$[0]! += out
  }
  stamp$[SEC] = value()
  let carry = 0
  for (let i = 7; i >= 0; i--) carry = Math.floor((fraction$[i]! * NS_PER_SEC + carry) / 0x10000)
  stamp$[REST] = carry
}
