import type { AddressInfo, Server, Socket } from 'node:net'
import { after } from 'node:test'

const servers: Server[] = []
const sockets: Socket[] = []
after(() => {
  for (const socket of sockets) socket.destroy()
  for (const server of servers) server.close()
})

/** Starts a server on a free port of 127.0.0.1; the test file ends it. */
export async function listening(server: Server): Promise<{ ip: string; port: number }> {
  servers.push(server)
  server.on('connection', socket => sockets.push(socket))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return { ip: '127.0.0.1', port: (server.address() as AddressInfo).port }
}
