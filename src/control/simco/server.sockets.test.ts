/** The server over Node's own sockets, as where native/streams.node was not built: the same tests. */
import { carrier } from './server-testing.ts'

carrier.streams = false
await import('./server.test.ts')
await import('./turns.test.ts')
