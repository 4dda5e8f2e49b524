/**
 * Steering in the kernel: a program of classic BPF for PACKET_FANOUT (packet(7)) that computes of a frame what `plane/owner` says
 * of it, where that follows from the frame alone. Errors, protocols without ports and what is no IP go to the first worker; what
 * bindings move to another one does not count. Whoever gets a frame that is not his hands it on, so this decides speed, and
 * nothing else.
 */
import { HASH_FACTOR, HASH_SHIFT, SUM_MODULUS, type SteeringOptions } from '../../channel/steering.ts'
import { SIDE_INSIDE } from '../../wire/frames.ts'

/** One instruction: code, jumps if true and if not, operand; as `struct sock_filter`. */
export type Instruction = readonly [code: number, whenTrue: number, whenFalse: number, operand: number]

/* Codes of linux/bpf_common.h. */
const LD_WORD = 0x20, LD_HALF = 0x28, LD_BYTE = 0x30, LD_HALF_AT_X = 0x48, LD_BYTE_AT_X = 0x50, LDX_MEMORY = 0x61
const STORE = 0x02, ADD_X = 0x0c, SUB = 0x14, MUL = 0x24, DIV = 0x34, MOD = 0x94, AND = 0x54, LSH = 0x64, RSH = 0x74
const JEQ = 0x15, JSET = 0x45, RETURN = 0x06, RETURN_A = 0x16, A_TO_X = 0x07
/** Loads relative to the network header, and the type of the frame (linux/filter.h). */
const NETWORK = -0x100000, AD_PROTOCOL = -0x1000

/** Jumps are to names, which `assemble` replaces. */
type Line = readonly [code: number, operand: number] | string
  | readonly [code: number, operand: number, whenTrue: string, whenFalse: string]

function assemble(lines: readonly Line[]): Instruction[] {
  const names = new Map<string, number>()
  let at = 0
  for (const line of lines) if (typeof line === 'string') names.set(line, at); else at++
  at = 0
  return lines.flatMap((line): Instruction[] => {
    if (typeof line === 'string') return []
    at++
    const to = (name: string | undefined) => name === undefined || name === '' ? 0 : names.get(name)! - at
    return [[line[0], to(line[2]), to(line[3]), line[1] >>> 0]]
  })
}

export function steeringProgram(options: SteeringOptions, side: number, nat44: boolean): Instruction[] {
  const { workers, stripeBase, stripePorts, bySubnet } = options
  const hash: Line[] = [[MUL, HASH_FACTOR], [RSH, HASH_SHIFT], [MUL, workers], [RSH, HASH_SHIFT], [RETURN_A, 0]]
  const stripe: Line[] = [[SUB, stripeBase], [DIV, stripePorts], [MOD, workers], [RETURN_A, 0]]
  const isInside = side === SIDE_INSIDE
  const six = Array.from({ length: bySubnet ? 4 : 8 }, (_, n): Line[] => [
    [LD_HALF, NETWORK + (isInside ? 8 : 24) + 2 * n], ...n === 0 ? [] : [[LDX_MEMORY, 0], [ADD_X, 0]] as Line[], [STORE, 0],
  ]).flat()
  const headerLength: Line[] = [[LD_BYTE, NETWORK], [AND, 15], [LSH, 2], [A_TO_X, 0]]
  const four: Line[] = isInside || !nat44 ? [
    [LD_BYTE, NETWORK + 9], [JEQ, 6, 'address', ''], [JEQ, 17, 'address', ''], [JEQ, 1, 'icmp', nat44 ? 'first' : 'address'],
    'icmp', [LD_HALF, NETWORK + 6], [JSET, 0x3fff, 'address', ''],
    ...headerLength, [LD_BYTE_AT_X, NETWORK], [JEQ, 3, 'first', ''], [JEQ, 11, 'first', ''], [JEQ, 12, 'first', ''],
    'address', [LD_WORD, NETWORK + (isInside ? 12 : 16)], ...hash,
  ] : [
    [LD_BYTE, NETWORK + 9], [JEQ, 6, 'port', ''], [JEQ, 17, 'port', ''], [JEQ, 1, 'icmp', 'first'],
    'port', [LD_HALF, NETWORK + 6], [JSET, 0x3fff, 'piece', ''], ...headerLength, [LD_HALF_AT_X, NETWORK + 2], ...stripe,
    'icmp', [LD_HALF, NETWORK + 6], [JSET, 0x3fff, 'piece', ''], ...headerLength,
    [LD_BYTE_AT_X, NETWORK], [JEQ, 3, 'first', ''], [JEQ, 11, 'first', ''], [JEQ, 12, 'first', ''],
    [LD_HALF_AT_X, NETWORK + 4], ...stripe,
    'piece', [LD_HALF, NETWORK + 4], ...hash,
  ]
  return assemble([
    [LD_HALF, AD_PROTOCOL], [JEQ, 0x0800, 'four', ''], [JEQ, 0x86dd, 'six', 'first'],
    'six', ...six, [MOD, SUM_MODULUS], ...hash,
    'four', ...four,
    'first', [RETURN, 0],
  ])
}
