/** Reads configurations in a thread of its own, so that packets need not wait while one is read; see config-reader.ts. */
import { parentPort } from 'node:worker_threads'
import { ConfigError, loadConfig } from '../config/load.ts'
import { RULES_IN_MESSAGE, type Answer, type Question } from './config-reader.ts'

function answer(message: Answer): void {
  parentPort!.postMessage(message)
}

parentPort!.on('message', ({ id, path }: Question) => {
  try {
    const config = loadConfig(path)
    const { rules } = config.firewall
    // What arrives in one piece is unpacked in one piece.
    for (let n = 0; n < rules.length; n += RULES_IN_MESSAGE) answer({ id, rules: rules.slice(n, n + RULES_IN_MESSAGE) })
    answer({ id, config: { ...config, firewall: { ...config.firewall, rules: [] } } })
  } catch (error) {
    if (!(error instanceof ConfigError)) return answer({ id, failure: error instanceof Error ? error.message : String(error) })
    const { code, file, problems, message } = error
    answer({ id, fault: { code, file, problems, message } })
  }
})
