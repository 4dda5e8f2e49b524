/** The SNMP engine with a table of as many rows as asked for, as a process of its own: server-child PORT ROWS. */
import { createSnmpServer } from '../../src/control/snmp/server.ts'
import { createTestMib, memoryStore, openAccess } from '../../src/control/snmp/testing.ts'

const [port, rows] = process.argv.slice(2).map(Number)
const password = 'labauthpass'
const server = createSnmpServer({
  listeners: [{ host: '127.0.0.1', port }], store: memoryStore(), modules: [() => createTestMib(rows)],
  users: [{ name: 'lab', auth: 'SHA-256', authPassword: password, priv: 'AES', privPassword: password, agent: null }],
  access: openAccess(['lab']),
  system: { description: 'a box', contact: '', name: 'box', location: '' },
})
process.on('SIGTERM', () => { void server.close().then(() => process.exit(0)) })
await server.listen()
process.stdout.write('ready\n')
