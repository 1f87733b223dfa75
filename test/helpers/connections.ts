import { connect, createServer, type Server, type Socket } from 'node:net'
import type { Address } from '../../lib/system/address.ts'

/** Listens there and says where, to whoever speaks to it; silent clients stay. */
export function greeter({ ip, port }: Address): Promise<Server> {
  const server = createServer(socket =>
    socket.on('error', () => {}).once('data', () => socket.end(`hello from ${ip}:${port}`)),
  )
  return new Promise(resolve => server.listen(port, ip, () => resolve(server)))
}

/** A connection that is open. */
export function opened({ ip, port }: Address): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, ip, () => resolve(socket)).on('error', reject)
  })
}

/** All that comes back for what `speak` says, until the other side closes; throws after 5 s of silence. */
export function answerOf({ ip, port }: Address, speak = (socket: Socket) => void socket.write('hi')): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect({ host: ip, port, allowHalfOpen: true }, () => speak(socket))
    socket.setTimeout(5000, () => socket.destroy(new Error('silent for 5 s')))
    socket.on('data', chunk => {
      answer += chunk
    })
    socket.on('end', () => {
      socket.destroy()
      resolve(answer)
    })
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ECONNRESET' ? resolve(answer) : reject(error),
    )
  })
}
