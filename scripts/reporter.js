/** A reporter of node's test runner: one JSON record a line, for test.js to count and to show. */
import { inspect } from 'node:util'

export default async function* reporter(events) {
  for await (const { type, data } of events) {
    if (type !== 'test:pass' && type !== 'test:fail') continue
    if (data.details?.type === 'suite' && type === 'test:pass') continue
    const error = data.details?.error
    // A test fails too when one inside it did; only the inner one is of interest.
    if (error?.failureType === 'subtestsFailed') continue
    const ran = type === 'test:pass' ? 'passed' : 'failed'
    yield JSON.stringify({
      result: data.skip !== undefined ? 'skipped' : data.todo !== undefined ? 'todo' : ran,
      name: data.name,
      reason: typeof data.skip === 'string' ? data.skip : '',
      error: error === undefined ? '' : inspect(error.cause ?? error),
    }) + '\n'
  }
  yield JSON.stringify({ result: 'end' }) + '\n'
}
