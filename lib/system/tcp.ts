import { connect } from 'node:net'
import tcpPortUsed from 'tcp-port-used'
import { type Address, addressText } from './address.ts'
import { connectionError } from './connection.ts'
import { PlatformError } from './errors.ts'

/** Between two looks of acceptsConnections. */
const retryMs = 100

/**
 * Whether something accepts TCP connections at this address, now or within `waitMs`. For our own servers; a forwarder accepts whether or not
 * anything is behind it, which only `tcp` can tell.
 */
export async function acceptsConnections({ ip, port }: Address, waitMs: number): Promise<boolean> {
  return tcpPortUsed.waitUntilUsedOnHost(port, ip, retryMs, waitMs).then(
    () => true,
    () => false, // its time was over, or the address cannot be reached
  )
}

// What follows holds a conversation: tcp-port-used closes a connection as soon as it is open, and takes no signal.

/** How long a forwarder may take to find out that there is nobody behind it and to hang up. */
const hangUpMs = 200

/**
 * Connects, and waits a moment for the other side to hang up: a forwarder accepts first and looks for its target afterwards.
 * Throws where nobody listens or nobody is behind the forwarder.
 */
export async function tcp(address: Address, signal: AbortSignal): Promise<void> {
  await converse(address, signal, undefined)
}

/** Whether TCP port `port` of a container speaks PostgreSQL; the one protocol besides HTTP that the platform can speak. */
export function speaksPostgres(port: number): boolean {
  return port === 5432
}

/** What a PostgreSQL server answers before any login, with one letter: the request for TLS (SSLRequest in its protocol). */
export const postgresGreeting = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])

/** Greets a PostgreSQL server. Throws where no PostgreSQL answers. */
export async function postgres(address: Address, signal: AbortSignal): Promise<void> {
  const answer = await converse(address, signal, postgresGreeting)
  if (!/^[SNE]/.test(answer)) throw new PlatformError(`${addressText(address)} answers, but not as PostgreSQL does`)
}

/**
 * Connects, sends something or nothing, and returns what comes first; a server that is sent nothing may stay silent. Throws where nobody
 * listens, the other side hangs up without an answer, or the signal fires.
 */
export function converse(address: Address, signal: AbortSignal, sent: string | Buffer | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address.ip, port: address.port, signal })
    let silence: NodeJS.Timeout | undefined
    const end = (settle: () => void) => {
      clearTimeout(silence)
      socket.destroy()
      settle()
    }
    socket.on('connect', () => {
      if (sent === undefined) silence = setTimeout(() => end(() => resolve('')), hangUpMs)
      else socket.write(sent)
    })
    socket.on('data', data => end(() => resolve(data.toString('latin1'))))
    socket.on('end', () =>
      end(() => reject(new PlatformError(`${addressText(address)} accepts the connection and hangs up`))),
    )
    socket.on('error', error => end(() => reject(connectionError(error, address, signal))))
  })
}
