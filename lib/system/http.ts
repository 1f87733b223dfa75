import { createWriteStream } from 'node:fs'
import { type IncomingHttpHeaders, type IncomingMessage, request as overHttp } from 'node:http'
import { request as overHttps } from 'node:https'
import { isIP } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { connectionError } from './connection.ts'
import { PlatformError } from './errors.ts'
import { deadline } from './wait.ts'

export interface HttpRequest {
  method?: string
  headers?: Readonly<Record<string, string>>
  body?: string | Buffer
}

export interface HttpOptions extends HttpRequest {
  /** Where to connect, instead of looking the URL's name up: a slow resolver then cannot hold up more than its own lookup. */
  ip?: string | undefined
  /** Port to connect to, where it is not the URL's. */
  port?: number | undefined
  /** PEM of the only CA that is trusted; the system's where it is absent. For https URLs. */
  ca?: string | undefined
  /** Ends the request early, with the signal's reason. */
  signal?: AbortSignal | undefined
  /** For the whole request, body included; 10 s where neither this nor a signal says otherwise. */
  timeoutMs?: number | undefined
}

/** What an HTTP server answered, its body read to the end. */
export interface HttpResponse {
  status: number
  headers: IncomingHttpHeaders
  body: string
}

const defaultTimeoutMs = 10_000
/** GitHub needs two, dl.k8s.io one. */
const maximumRedirects = 5

/**
 * Sends one request over a connection of its own. Any status is an answer, redirects included; throws a PlatformError that names the address
 * where there is none: refused, reset, a certificate that is not trusted, out of time. `codeOf` gives the system's code of it.
 */
export async function http(
  url: string | URL,
  { signal, timeoutMs, ...options }: HttpOptions = {},
): Promise<HttpResponse> {
  const limit =
    signal !== undefined && timeoutMs === undefined
      ? { signal, done: () => {} }
      : deadline(timeoutMs ?? defaultTimeoutMs, signal)
  try {
    return await exchange(new URL(url), options, limit.signal, async response => {
      const chunks: Buffer[] = []
      for await (const chunk of response) chunks.push(chunk)
      return {
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: Buffer.concat(chunks).toString('utf8'),
      }
    })
  } finally {
    limit.done()
  }
}

/**
 * Saves what a URL answers with status 200 in a file, following redirects, for as long as something arrives: it ends when nothing came for
 * `idleMs`. Throws for any other status. The caller removes an unfinished file, and compares the checksum.
 */
export async function download(
  url: string | URL,
  file: string,
  { idleMs = 60_000, signal }: { idleMs?: number; signal?: AbortSignal | undefined } = {},
): Promise<void> {
  let limit = deadline(idleMs, signal)
  const silence = new AbortController()
  // each piece that arrives starts the time anew
  const renew = () => {
    limit.done()
    limit = deadline(idleMs, signal)
    limit.signal.addEventListener('abort', () => silence.abort(limit.signal.reason), { once: true })
  }
  renew()
  try {
    let target = new URL(url)
    for (let redirects = 0; ; redirects += 1) {
      const next = await exchange(target, {}, silence.signal, async response => {
        const { statusCode = 0, headers } = response
        if (statusCode >= 300 && statusCode < 400 && headers.location !== undefined && redirects < maximumRedirects) {
          response.destroy()
          return new URL(headers.location, target)
        }
        if (statusCode !== 200) throw new PlatformError(`${target} answers ${statusCode}`)
        response.on('data', renew)
        await pipeline(response, createWriteStream(file), { signal: silence.signal })
        return undefined
      })
      if (next === undefined) return
      target = next
    }
  } finally {
    limit.done()
  }
}

function exchange<T>(
  { protocol, host, hostname, port: urlPort, pathname, search }: URL,
  { method = 'GET', headers = {}, body, ip, port, ca }: Omit<HttpOptions, 'signal' | 'timeoutMs'>,
  signal: AbortSignal,
  read: (response: IncomingMessage) => Promise<T>,
): Promise<T> {
  const isSecure = protocol === 'https:'
  const name = hostname.replace(/^\[(.*)\]$/, '$1')
  const address = { ip: ip ?? name, port: port ?? Number(urlPort || (isSecure ? 443 : 80)) }
  return new Promise((resolve, reject) => {
    const fail = (error: Error) =>
      reject(error instanceof PlatformError ? error : connectionError(error, address, signal))
    const request = (isSecure ? overHttps : overHttp)(
      {
        host: address.ip,
        port: address.port,
        path: pathname + search,
        method,
        headers: { host, ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }), ...headers },
        signal,
        // a connection of its own, closed afterwards: a kept one would hide that nobody listens any more
        agent: false,
        ...(isSecure && isIP(name) === 0 ? { servername: name } : {}),
        ...(ca === undefined ? {} : { ca }),
      },
      response => void read(response).then(resolve, fail),
    )
    request.on('error', fail)
    request.end(body)
  })
}
