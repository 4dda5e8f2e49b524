/** Throw-away certificates for tests of TLS, made by the system's `openssl`. */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Reason to skip a test, or false. */
export const NO_OPENSSL = spawnSync('openssl', ['version']).status === 0 ? false : 'no openssl'

export interface Certified { cert: string; key: string }

/**
 * An authority, and certificates of it for the given names; each is good for 127.0.0.1 and localhost too. All PEM.
 */
export function createCertificates(...names: string[]): { ca: string; of: Record<string, Certified> } {
  const folder = mkdtempSync(join(tmpdir(), 'pinhole-certificates-'))
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  const read = (name: string) => readFileSync(join(folder, name), 'utf8')
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  try {
    openssl('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.pem', '-days', '2', '-subj', '/CN=Test authority')
    const of: Record<string, Certified> = {}
    for (const name of names) {
      writeFileSync(join(folder, 'extensions'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n')
      openssl('req', ...newKey, '-keyout', 'one.key', '-out', 'one.csr', '-subj', `/CN=${name}`)
      openssl('x509', '-req', '-in', 'one.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2',
        '-extfile', 'extensions', '-out', 'one.pem')
      of[name] = { cert: read('one.pem'), key: read('one.key') }
    }
    return { ca: read('ca.pem'), of }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
