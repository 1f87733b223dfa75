import { request as overHttp } from 'node:http'
import { request as overHttps } from 'node:https'

/** One question to a web server, as a browser would ask it. */
export interface Question {
  /** Name in the Host header and in TLS. */
  host: string
  path: string
  /** PEM of the only CA to believe, which also means HTTPS. */
  ca?: string
  /** Where to connect instead of asking DNS for the host. */
  at?: { ip: string; port: number }
}

/** What came back: a status, or the reason why there is none (`ECONNREFUSED`, `ENOTFOUND`, a certificate that is not believed). */
export type Reply = { status: number; body: string } | { error: string; code: string | undefined }

/** Asks once; never throws. A server that does not answer within `timeoutMs` counts as silent. */
export async function askWeb({ host, path, ca, at }: Question, timeoutMs = 3000): Promise<Reply> {
  return new Promise(resolve => {
    const options = {
      host: at?.ip ?? host,
      port: at?.port ?? (ca === undefined ? 80 : 443),
      path,
      headers: { host },
      // one connection for one question: a pooled one would hide that nobody listens any more
      agent: false,
      timeout: timeoutMs,
      ...(ca === undefined ? {} : { ca, servername: host }),
    }
    const request = (ca === undefined ? overHttp : overHttps)(options, response => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', chunk => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
    })
    request.on('timeout', () =>
      request.destroy(Object.assign(new Error(`silent for ${timeoutMs} ms`), { code: 'SILENT' })),
    )
    request.on('error', (error: NodeJS.ErrnoException) => resolve({ error: error.message, code: error.code }))
    request.end()
  })
}

/** A reply in words: `status 404`, `connect ECONNREFUSED 127.0.0.2:80`. */
export function replyText(reply: Reply): string {
  return 'status' in reply ? `status ${reply.status}` : reply.error
}

/** Asks until the reply is 2xx, at most for `deadlineMs`. Returns the last reply either way. */
export async function askUntilGood(question: Question, deadlineMs: number): Promise<Reply> {
  const deadline = Date.now() + deadlineMs
  for (;;) {
    const reply = await askWeb(question)
    if (isGoodReply(reply) || Date.now() > deadline) return reply
    await new Promise(resume => setTimeout(resume, 100))
  }
}

export function isGoodReply(reply: Reply): reply is { status: number; body: string } {
  return 'status' in reply && reply.status >= 200 && reply.status < 300
}
