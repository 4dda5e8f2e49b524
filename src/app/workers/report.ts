/** What each worker did, for the report of a box. */
export interface WorkerReport {
  /** Packets that came to it from the kernel, and from others; frames that it handed on. */
  receivedFrames: number
  takenOverFrames: number
  handedOnFrames: number
  flows: number
  /** How often it had to be started again, and the flows that were lost so. */
  restarts: number
  flowsLost: number
}

export interface WorkersReport {
  count: number
  restarts: number
  flowsLost: number
  each: WorkerReport[]
}
