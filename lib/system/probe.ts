import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { type Address, addressText } from './address.ts'
import { PlatformError } from './errors.ts'

/** What an HTTP server answered, its body read to the end. */
export interface HttpAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

export interface HttpQuestion {
  method?: string
  headers?: Readonly<Record<string, string>>
  body?: string | Buffer
}

/**
 * Sends one request to `ip`, under the name in `url`. Any status is an answer; throws where there is none: refused, cut off, or ended
 * by the signal. The address is given, not looked up, so a slow resolver cannot hold up more than its own lookup.
 */
export function http(
  url: string | URL,
  ip: string,
  signal: AbortSignal,
  { method = 'GET', headers = {}, body }: HttpQuestion = {},
): Promise<HttpAnswer> {
  const { host, port, pathname, search } = new URL(url)
  const address = { ip, port: Number(port || 80) }
  return new Promise((resolve, reject) => {
    const question = request(
      {
        host: ip,
        port: address.port,
        path: pathname + search,
        method,
        headers: { host, ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }), ...headers },
        signal,
        // a connection of its own, closed afterwards: a kept one would hide that nobody listens any more
        agent: false,
      },
      answer => {
        const chunks: Buffer[] = []
        answer.on('data', chunk => chunks.push(chunk))
        answer.on('error', error => reject(unanswered(error, address, signal)))
        answer.on('end', () =>
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            body: Buffer.concat(chunks).toString('utf8'),
          }),
        )
      },
    )
    question.on('error', error => reject(unanswered(error, address, signal)))
    question.end(body)
  })
}

/** How long a forwarder may take to find out that there is nobody behind it and to hang up. */
const hangUpMs = 200

/**
 * Connects, and waits a moment for the other side to hang up: a forwarder accepts first and looks for its target afterwards.
 * Throws where nobody listens or nobody is behind the forwarder.
 */
export async function tcp(address: Address, signal: AbortSignal): Promise<void> {
  await converse(address, signal, undefined)
}

/** Whether TCP port `port` of a container speaks PostgreSQL; the one protocol besides HTTP that the platform can ask. */
export function speaksPostgres(port: number): boolean {
  return port === 5432
}

/** What a PostgreSQL server answers before any login, with one letter: the question whether it speaks TLS (SSLRequest in its protocol). */
export const postgresGreeting = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])

/** Greets a PostgreSQL server. Throws where no PostgreSQL answers. */
export async function postgres(address: Address, signal: AbortSignal): Promise<void> {
  const answer = await converse(address, signal, postgresGreeting)
  if (!/^[SNE]/.test(answer)) throw new PlatformError(`${addressText(address)} answers, but not as PostgreSQL does`)
}

/** Connects, says something or nothing, and returns the first words of the answer; those who are told nothing may stay silent. */
function converse(address: Address, signal: AbortSignal, words: Buffer | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: address.ip, port: address.port, signal })
    let silence: NodeJS.Timeout | undefined
    const end = (settle: () => void) => {
      clearTimeout(silence)
      socket.destroy()
      settle()
    }
    socket.on('connect', () => {
      if (words === undefined) silence = setTimeout(() => end(() => resolve('')), hangUpMs)
      else socket.write(words)
    })
    socket.on('data', data => end(() => resolve(data.toString('latin1'))))
    socket.on('end', () =>
      end(() => reject(new PlatformError(`${addressText(address)} accepts the connection and hangs up`))),
    )
    socket.on('error', error => end(() => reject(unanswered(error, address, signal))))
  })
}

/** A signal that fires after `timeoutMs`, and keeps the process alive until then or until `done`. */
export function deadline(timeoutMs: number): { signal: AbortSignal; done: () => void } {
  const controller = new AbortController()
  const timer = setTimeout(
    () => controller.abort(new PlatformError(`no answer within ${timeoutMs / 1000} s`)),
    timeoutMs,
  )
  return { signal: controller.signal, done: () => clearTimeout(timer) }
}

function unanswered(error: Error, address: Address, signal: AbortSignal): PlatformError {
  const where = addressText(address)
  if (signal.aborted) {
    const why = signal.reason instanceof Error ? signal.reason.message : 'no answer in time'
    return new PlatformError(`${where}: ${why}`, { cause: error })
  }
  const code = 'code' in error ? String(error.code) : ''
  const words: Record<string, string> = {
    ECONNREFUSED: `nobody listens on ${where}`,
    ECONNRESET: `${where} cuts the connection`,
    EHOSTUNREACH: `${where} cannot be reached`,
    ENETUNREACH: `${where} cannot be reached`,
    EADDRNOTAVAIL: `${where} is no address of this machine`,
  }
  return new PlatformError(words[code] ?? `${where}: ${error.message}`, { cause: error })
}
