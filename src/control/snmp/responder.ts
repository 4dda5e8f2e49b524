/**
 * The operations (RFC 3416 4.2): what GET, GETNEXT, GETBULK and SET ask for, within the views of who asks. The varbinds of an
 * answer go straight into the writer of its message. A SET is tried as a whole on copies before anything is changed, and then
 * changed as a whole; an answer may have to wait until what it says is true.
 */
import type { Writer } from './ber.ts'
import {
  AUTHORIZATION_ERROR, COMMIT_FAILED, END_OF_MIB_VIEW, GEN_ERR, isFault, NO_ACCESS, NO_ERROR, NO_SUCH_OBJECT, NOT_WRITABLE,
  NotUndone, TOO_BIG, UNDO_FAILED, type Request, type SetPlan, type Varbind,
} from './mib.ts'
import type { Oid } from './oid.ts'
import { GET, GET_BULK, GET_NEXT, SET, type Pdu } from './pdu.ts'
import type { Registry } from './registry.ts'
import type { Views } from './vacm.ts'

/** `error-status` and `error-index`. The varbinds are in the writer, or with an error they are those of the request. */
export interface Outcome { readonly status: number; readonly index: number }

const OK: Outcome = { status: NO_ERROR, index: 0 }
const TOO_MUCH: Outcome = { status: TOO_BIG, index: 0 }

export interface ResponderOptions {
  readonly registry: Registry
  /** Of a GETBULK's answer. */
  readonly mostVarbinds: number
  /** Our own bugs: what a module has thrown. */
  onFailure(error: unknown): void
}

export class Responder {
  private readonly options: ResponderOptions

  constructor(options: ResponderOptions) { this.options = options }

  /**
   * Carries out one request, of one of the four types. `writer` is empty and has room for what the other side takes.
   * A promise: a SET whose answer must wait; its varbinds are not in the writer then, for the writer serves others meanwhile.
   */
  respond(request: Request, views: Views, pdu: Pdu, writer: Writer): Outcome | Promise<Outcome> {
    if (pdu.isCut) return TOO_MUCH
    const view = pdu.type === SET ? views.write : views.read
    if (view === null) return { status: AUTHORIZATION_ERROR, index: 0 }
    try {
      switch (pdu.type) {
        case GET: return this.get(request, views, pdu, writer)
        case GET_NEXT: return this.getNext(request, views, pdu, writer)
        case GET_BULK: return this.getBulk(request, views, pdu, writer)
        default: return this.set(request, pdu, writer)
      }
    } catch (error) {
      this.options.onFailure(error)
      return { status: GEN_ERR, index: 0 }
    }
  }

  private get(request: Request, { read }: Views, { varbinds }: Pdu, writer: Writer): Outcome {
    const { registry } = this.options
    for (let i = 0; i < varbinds.length; i++) {
      const { name } = varbinds[i]!
      if (!writer.varbind(name, read!.contains(name) ? registry.get(request, name) : NO_SUCH_OBJECT)) return TOO_MUCH
    }
    return OK
  }

  private getNext(request: Request, { read }: Views, { varbinds }: Pdu, writer: Writer): Outcome {
    for (let i = 0; i < varbinds.length; i++) {
      const { name } = varbinds[i]!
      const found = this.options.registry.next(request, name, read!)
      if (!writer.varbind(found?.name ?? name, found?.value ?? END_OF_MIB_VIEW)) return TOO_MUCH
    }
    return OK
  }

  private getBulk(request: Request, { read }: Views, { varbinds, first, second }: Pdu, writer: Writer): Outcome {
    const { registry, mostVarbinds } = this.options
    const nonRepeaters = Math.min(Math.max(first, 0), varbinds.length)
    for (let i = 0; i < nonRepeaters; i++) {
      const { name } = varbinds[i]!
      const found = registry.next(request, name, read!)
      if (!writer.varbind(found?.name ?? name, found?.value ?? END_OF_MIB_VIEW)) return OK
    }
    const names: Oid[] = varbinds.slice(nonRepeaters).map(({ name }) => name), isOver = names.map(() => false)
    let left = mostVarbinds - nonRepeaters
    for (let repetition = 0; repetition < second; repetition++) {
      let areAllOver = true
      for (let i = 0; i < names.length; i++) {
        // Whole rows of what was asked for: a manager takes the answer apart by their number.
        if (left-- <= 0) return OK
        const found = isOver[i] ? null : registry.next(request, names[i]!, read!)
        if (!writer.varbind(found?.name ?? names[i]!, found?.value ?? END_OF_MIB_VIEW)) return OK
        if (found === null) isOver[i] = true
        else {
          names[i] = found.name
          areAllOver = false
        }
      }
      if (areAllOver) return OK
    }
    return OK
  }

  private set(request: Request, { varbinds }: Pdu, writer: Writer): Outcome | Promise<Outcome> {
    // The answer holds what the request holds. If it could not be sent, nothing must be done.
    if (!writeAll(writer, varbinds)) return TOO_MUCH
    const denied = varbinds.findIndex(({ name }) => !request.canWrite(name))
    if (denied >= 0) return { status: NO_ACCESS, index: denied + 1 }
    const parts = this.parts(varbinds)
    if ('status' in parts) return parts
    const plans: SetPlan[] = []
    let fault: Outcome | null = null
    for (const { module, positions } of parts) {
      const result = module.prepare!(request, positions.map((position) => varbinds[position]!))
      if (!isFault(result)) plans.push(result)
      else {
        const index = positions[result.index]! + 1
        if (fault === null || index < fault.index) fault = { status: result.status, index }
      }
    }
    return fault ?? this.commit(plans, parts.map(({ positions }) => positions[0]! + 1))
  }

  /** Which module has which varbinds, in the order of their first ones. */
  private parts(varbinds: readonly Varbind[]) {
    const { registry } = this.options
    const parts = new Map<number, number[]>()
    for (let position = 0; position < varbinds.length; position++) {
      const i = registry.find(varbinds[position]!.name)
      if (i < 0 || registry.modules[i]!.prepare === undefined) return { status: NOT_WRITABLE, index: position + 1 }
      const positions = parts.get(i)
      if (positions === undefined) parts.set(i, [position])
      else positions.push(position)
    }
    return [...parts].map(([i, positions]) => ({ module: registry.modules[i]!, positions }))
  }

  private commit(plans: readonly SetPlan[], indices: readonly number[]): Outcome | Promise<Outcome> {
    const waits: Promise<void>[] = []
    for (const [i, plan] of plans.entries()) {
      try {
        const wait = plan.commit()
        if (wait !== null) {
          waits.push(wait.catch((error: unknown) => { throw new CommitError(i, error) }))
        }
      } catch (error) {
        this.options.onFailure(error)
        for (const wait of waits) wait.catch(() => { /* the answer is an error already */ })
        return this.undo(plans.slice(0, i), indices[i]!, error)
      }
    }
    if (waits.length === 0) return OK
    return Promise.all(waits).then(() => OK, (error: unknown) => {
      const { plan, cause } = error as CommitError
      this.options.onFailure(cause)
      return this.undo(plans.filter((_, i) => i !== plan), indices[plan]!, cause)
    })
  }

  private undo(plans: readonly SetPlan[], failedIndex: number, cause: unknown): Outcome {
    try {
      for (const plan of [...plans].reverse()) plan.undo()
      return cause instanceof NotUndone ? { status: UNDO_FAILED, index: 0 } : { status: COMMIT_FAILED, index: failedIndex }
    } catch (error) {
      this.options.onFailure(error)
      return { status: UNDO_FAILED, index: 0 }
    }
  }
}

class CommitError extends Error {
  readonly plan: number
  constructor(plan: number, cause: unknown) {
    super('commit failed', { cause })
    this.plan = plan
  }
}

export function writeAll(writer: Writer, varbinds: readonly Varbind[]): boolean {
  return varbinds.every(({ name, value }) => writer.varbind(name, value))
}
