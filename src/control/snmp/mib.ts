/**
 * The interface between the SNMP engine and what it serves: a MIB module. The engine does messages, security, access control
 * (RFC 3415) and the operations (RFC 3416); a module knows its objects and their values, and nothing of packets or users' keys.
 *
 * A module owns one subtree; subtrees of modules do not overlap. Everything below is called on one thread, at once and never
 * twice at a time; nothing may throw on account of what a manager sent. What is thrown all the same answers genErr and is logged.
 */
import type { Oid } from './oid.ts'

/* Values, by their tag on the wire (RFC 3416 3). */
export const INTEGER = 0x02, OCTETS = 0x04, NULL = 0x05, OBJECT_ID = 0x06
/** UNSIGNED32 is Gauge32 as well: one tag. */
export const IP_ADDRESS = 0x40, COUNTER32 = 0x41, UNSIGNED32 = 0x42, TIME_TICKS = 0x43, OPAQUE = 0x44, COUNTER64 = 0x46
/** Exceptions: what a response holds in place of a value. */
export const NO_SUCH_OBJECT_TAG = 0x80, NO_SUCH_INSTANCE_TAG = 0x81, END_OF_MIB_VIEW_TAG = 0x82

/**
 * One value. Numbers of INTEGER: -2^31..2^31-1; of the unsigned types 0..2^32-1. Octets are not copied: whoever gives them away
 * does not change them any more. Octets of a SET live only until `prepare` returns, unless they are copied.
 */
export type Value =
  | { readonly tag: typeof INTEGER | typeof COUNTER32 | typeof UNSIGNED32 | typeof TIME_TICKS; readonly value: number }
  | { readonly tag: typeof COUNTER64; readonly value: bigint }
  | { readonly tag: typeof OCTETS | typeof IP_ADDRESS | typeof OPAQUE; readonly value: Uint8Array }
  | { readonly tag: typeof OBJECT_ID; readonly value: Oid }
  | { readonly tag: typeof NULL | typeof NO_SUCH_OBJECT_TAG | typeof NO_SUCH_INSTANCE_TAG | typeof END_OF_MIB_VIEW_TAG
    readonly value: null }

export const NULL_VALUE: Value = { tag: NULL, value: null }
/** No object of that kind is known here at all; the object is known and this instance is not (RFC 3416 4.2.1). */
export const NO_SUCH_OBJECT: Value = { tag: NO_SUCH_OBJECT_TAG, value: null }
export const NO_SUCH_INSTANCE: Value = { tag: NO_SUCH_INSTANCE_TAG, value: null }
export const END_OF_MIB_VIEW: Value = { tag: END_OF_MIB_VIEW_TAG, value: null }

export function integer(value: number): Value { return { tag: INTEGER, value } }
export function unsigned32(value: number): Value { return { tag: UNSIGNED32, value: value >>> 0 } }
export const gauge32 = unsigned32
/** Wraps at 2^32, as counters do. */
export function counter32(value: number): Value { return { tag: COUNTER32, value: value % 0x1_0000_0000 } }
export function counter64(value: number | bigint): Value { return { tag: COUNTER64, value: BigInt.asUintN(64, BigInt(value)) } }
/** Hundredths of a second; wraps at 2^32. */
export function timeTicks(value: number): Value { return { tag: TIME_TICKS, value: Math.floor(value) % 0x1_0000_0000 } }
export function octets(value: Uint8Array): Value { return { tag: OCTETS, value } }
export function text(value: string): Value { return { tag: OCTETS, value: Buffer.from(value, 'utf8') } }
export function objectId(value: Oid): Value { return { tag: OBJECT_ID, value } }
/** TruthValue (RFC 2579): true(1), false(2). */
export function truth(value: boolean): Value { return { tag: INTEGER, value: value ? 1 : 2 } }

export interface Varbind { readonly name: Oid; readonly value: Value }

/* error-status (RFC 3416 3). Those that a module may answer a SET with, in the order in which they are to be looked for (4.2.5). */
export const NO_ERROR = 0, TOO_BIG = 1, GEN_ERR = 5, AUTHORIZATION_ERROR = 16
export const NO_ACCESS = 6, WRONG_TYPE = 7, WRONG_LENGTH = 8, WRONG_ENCODING = 9, WRONG_VALUE = 10, NO_CREATION = 11,
  INCONSISTENT_NAME = 18, NOT_WRITABLE = 17, INCONSISTENT_VALUE = 12, RESOURCE_UNAVAILABLE = 13, COMMIT_FAILED = 14,
  UNDO_FAILED = 15

export const NO_AUTH_NO_PRIV = 1, AUTH_NO_PRIV = 2, AUTH_PRIV = 3
export type SecurityLevel = typeof NO_AUTH_NO_PRIV | typeof AUTH_NO_PRIV | typeof AUTH_PRIV

/**
 * Who asks. The engine has checked the views before a module is asked: `get` and `next` never hand out what the read view does
 * not hold, and all names of a SET are in the write view.
 */
export interface Request {
  /** USM: the user's name. */
  readonly securityName: string
  readonly securityLevel: SecurityLevel
  readonly contextName: string
  /**
   * MIDCOM agent that this user is, by configuration: what it makes belongs to that owner. null: it is none, and only looks on.
   */
  readonly agent: string | null
  /** The views of this user (RFC 3415), for a module that wants to know about objects other than those asked for. */
  canRead(name: Oid): boolean
  canWrite(name: Oid): boolean
}

/** `index`: which of the varbinds given to `prepare` failed, from 0. */
export interface SetFault { readonly status: number; readonly index: number }

/** What `prepare` found good, waiting for the go-ahead. Used once or forgotten; forgetting it must leave nothing behind. */
export interface SetPlan {
  /**
   * Makes all of it true at once, as if simultaneously; what is read from here on is the new state. It comes in the same breath
   * as `prepare`, so nothing has changed in between.
   *
   * Returns null if nothing is left to wait for, or a promise that resolves when the answer may leave: the packet path has
   * carried out what was promised, and the journal is on disk. Other requests are served meanwhile. It rejects if what was done
   * was taken back: the answer is commitFailed; or with `NotUndone` if it stands nevertheless: undoFailed. Throwing means the
   * same, for what fails at once.
   *
   * Notifications that are originated while this runs leave behind the answer, and never if the answer is an error.
   */
  commit(): Promise<void> | null
  /** Another module of the same request has failed in `commit`: takes back what this one did. Throwing answers undoFailed. */
  undo(): void
}

/** Why a plan has failed that could not be taken back. */
export class NotUndone extends Error {
  constructor(message: string, cause: unknown) {
    super(message, { cause })
    this.name = 'NotUndone'
  }
}

export interface ModuleIdentity { readonly oid: Oid; readonly description: string }

export interface MibModule {
  /** What this module answers for: everything at and below it. */
  readonly root: Oid
  /** What sysORTable says of it (RFC 3418): the identity of the MIB module and a line for people. */
  readonly identity: ModuleIdentity
  /** The value of exactly that instance, or NO_SUCH_OBJECT or NO_SUCH_INSTANCE. `name` is below `root`. */
  get(request: Request, name: Oid): Value
  /**
   * The first instance after `from` (`from` itself counts if `including`) that this module has and this agent may see, or null if
   * no more come. `from` may stand before, in or behind the subtree, and need not name anything. The name that comes back is
   * below `root`.
   *
   * Within one GETBULK `from` is mostly the very object that was returned last, so a module that remembers where that was need
   * not search. Where the read view ends, the engine asks again from where it goes on (`including`): rows outside views cost one
   * call each run of them. Rows that a module itself hides it passes by whole owners. At most logarithmic in the number of rows
   * otherwise.
   */
  next(request: Request, from: Oid, including: boolean): Varbind | null
  /**
   * Phase one of a SET (RFC 3416 4.2.5) over all its varbinds that belong to this module, together and in their order, at least
   * one. Changes nothing that could be seen; what is to be changed is tried on a copy. Left out by modules in which nothing can
   * be written: then every SET answers notWritable.
   */
  prepare?(request: Request, varbinds: readonly Varbind[]): SetFault | SetPlan
  /**
   * Does a piece, a fraction of a millisecond long, of what has been put off until somebody asks; true: nothing is left. The server
   * calls it before each message, until then or until packets have their turn. What is left then the other calls do themselves.
   */
  catchUp?(): boolean
}

/** Told apart by what they have. */
export function isFault(result: SetFault | SetPlan): result is SetFault { return 'status' in result }

/** A notification as a module originates it. The engine puts sysUpTime.0 and snmpTrapOID.0 before the varbinds. */
export interface Notification {
  /** Value of snmpTrapOID.0. */
  readonly name: Oid
  /** Objects with their full instances; values as of now. */
  readonly varbinds: readonly Varbind[]
}

/** What a module is given when it is made. */
export interface Originator {
  /** false: nobody is ever told anything, and there is no need to say it. */
  readonly hasTargets: boolean
  /**
   * Sends a trap or an inform to each target whose tags, filters and notify view let it through (RFC 3413 3.3). Answers at once;
   * what finds no room in a target's queue is dropped and counted. During `SetPlan.commit` it leaves behind the answer.
   */
  notify(notification: Notification): void
  /** sysUpTime: hundredths of a second since the engine started. */
  upTimeTicks(): number
}

/** Modules are given to the engine as functions, each called once: `createSnmpServer({ ..., modules: [midcomMib(policy)] })`. */
export type ModuleFactory = (originator: Originator) => MibModule
