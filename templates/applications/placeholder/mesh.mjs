// Peers meet over UDP: whoever sends a datagram gets one back that says who answered.
import { createSocket } from 'node:dgram'
import { hostname } from 'node:os'

/** A peer in the same cluster answers in a millisecond; a second without an answer means that it is not there. */
const patienceMs = 1000

export function createMesh({ name, port, peers, metrics }) {
  const socket = port > 0 ? createSocket('udp4') : undefined
  socket?.on('error', error => console.error(error.message))
  socket?.on('message', (message, from) => {
    metrics.count('datagrams_received')
    const answer = `${name} (${hostname()}) heard: ${message.toString('utf8').slice(0, 500)}`
    socket.send(answer, from.port, from.address)
  })
  socket?.bind(port)

  return {
    /** Greets every peer and says what each of them answered. */
    async greetAll() {
      return Object.fromEntries(await Promise.all(peers.map(async peer => [peer, await greet(name, peer)])))
    },
    close() {
      socket?.close()
    },
  }
}

function greet(name, peer) {
  const [host, port] = peer.split(':')
  const socket = createSocket('udp4')
  return new Promise(resolve => {
    const timer = setTimeout(() => resolve({ error: `no answer within ${patienceMs} ms` }), patienceMs)
    socket.once('error', error => resolve({ error: error.message }))
    socket.once('message', message => {
      clearTimeout(timer)
      resolve({ answer: message.toString('utf8') })
    })
    socket.send(`hello from ${name}`, Number(port), host, error => error && resolve({ error: error.message }))
  }).finally(() => socket.close())
}
