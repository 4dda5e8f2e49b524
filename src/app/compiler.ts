/**
 * Lets the optimizing compiler put more of the packet path into one function than it does by default: the path is many small
 * functions, each called from one place. Measured at 16k flows: 47 ns a packet instead of 55. Called before anything is hot.
 */
import { setFlagsFromString } from 'node:v8'

export function tuneCompiler(): void {
  setFlagsFromString('--max-inlined-bytecode-size=2000')
  setFlagsFromString('--max-inlined-bytecode-size-cumulative=4000')
  // What agents leave behind is little, and waiting for a second thread on a busy machine takes longer than it saves: the median
  // pause of a collection was 0.4 ms instead of 0.6.
  setFlagsFromString('--no-parallel-scavenge')
}
