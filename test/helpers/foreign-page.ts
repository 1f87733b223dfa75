import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type Browser, chromium, type Page } from 'playwright-core'
import type { Platform } from '../../lib/platform/platform.ts'
import { root } from '../../lib/system/checkout.ts'

const program = '/usr/bin/chromium'

/** false, or why no test with a browser can run. */
export const skipBrowser = existsSync(program) ? false : `${program} is not installed`

/**
 * Chromium that finds hosts by these rules alone: `[host or host:port, address or address:port]`, the first that fits. It does not keep pages
 * from addresses of this machine by itself, as newer browsers do: what is tested is what the platform does.
 */
export function startBrowser(hosts: readonly (readonly [string, string])[]): Promise<Browser> {
  const rules = [...hosts, ['*', '~NOTFOUND'] as const].map(([host, address]) => `MAP ${host} ${address}`).join(',')
  const quiet = ['--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update']
  return chromium.launch({
    executablePath: program,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-sync',
      `--host-resolver-rules=${rules}`,
      '--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests',
      ...quiet,
    ],
  })
}

/** Every documented HTTP address of the platform's services. */
export function documentedAddresses({ services, loopback: first }: Platform): string[] {
  const addresses = services.flatMap(({ hosts, names, loopback, ports }) => [
    ...hosts.map(({ name }) => `http://${name}`),
    ...ports
      .filter(({ gateway }) => gateway !== undefined)
      .flatMap(({ listen, target }) => {
        const name = hosts.find(({ port }) => port === target)?.name ?? names[0]
        const all = [name, loopback, ...(loopback === first ? ['localhost'] : [])]
        return all.map(host => `http://${host}:${listen}`)
      }),
  ])
  return [...new Set(addresses)]
}

/** What a foreign page got: a kind of request that read something, or changed something, at an address. */
export interface Breach {
  kind: string
  address: string
  got: 'read' | 'changed'
}

/**
 * A service that trusts everybody: answers each page with what it asks for and lets it do anything. `changes` holds what it was made to do,
 * by kind of request.
 */
export function trustingService(): {
  answer: RequestListener
  onUpgrade: Parameters<Server['on']>[1]
  changes: Breach[]
} {
  const changes: Breach[] = []
  const note = (url: URL) =>
    changes.push({ kind: url.searchParams.get('kind') ?? '?', address: url.origin, got: 'changed' })
  const urlOf = (request: { url?: string | undefined; headers: { host?: string | undefined } }) =>
    new URL(request.url ?? '/', `http://${request.headers.host}`)
  return {
    changes,
    answer(request, response) {
      const url = urlOf(request)
      const origin = request.headers.origin ?? '*'
      // Tempo says nothing of other origins
      if (!url.pathname.startsWith('/v1/')) response.setHeader('access-control-allow-origin', origin)
      response.setHeader('access-control-allow-headers', '*, content-type')
      response.setHeader('access-control-allow-methods', 'GET, POST, PUT, DELETE')
      if (origin !== '*') response.setHeader('access-control-allow-credentials', 'true')
      const changesByGet = url.pathname === '/flush' && /^(loki|tempo|localhost)\b|^127\.0\.0\.[156]/.test(url.host)
      if (!['GET', 'HEAD', 'OPTIONS'].includes(request.method ?? '') || changesByGet) note(url)
      const [type, body] = contents[url.pathname] ?? ['text/plain', 'secret']
      response.setHeader('content-type', type)
      request.resume()
      const run = `(globalThis.readByScript ??= new Set()).add(${JSON.stringify(url.search)})`
      request.on('end', () => response.end(url.pathname === '/secret.js' ? run : body))
    },
    onUpgrade(request, socket) {
      note(urlOf(request))
      const accept = websocketAccept(request.headers['sec-websocket-key'])
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      )
    },
  }
}

const silence = Buffer.concat([
  Buffer.from(
    'RIFF\x2c\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data\x08\0\0\0',
    'latin1',
  ),
  Buffer.alloc(8, 128),
])

const contents: Readonly<Record<string, readonly [string, string | Buffer]>> = {
  '/secret.json': ['application/json', '"secret"'],
  '/secret.html': ['text/html', 'secret'],
  '/secret.js': ['text/javascript', ''],
  '/secret.css': ['text/css', 'body { --secret: 1 }'],
  '/secret.svg': ['image/svg+xml', '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'],
  '/secret.wav': ['audio/wav', silence],
  '/events': ['text/event-stream', 'data: secret\n\n'],
}

function websocketAccept(key = ''): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
}

/** The server of a page that means ill: it has the page, and redirects wherever the page wants. */
export async function startForeignSite(): Promise<{ port: number; stop(): void }> {
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://evil.example')
    response.setHeader('access-control-allow-origin', request.headers.origin ?? '*')
    response.setHeader('access-control-allow-credentials', 'true')
    if (pathname === '/redirect') {
      response.writeHead(Number(searchParams.get('status')), { location: searchParams.get('to') ?? '/' }).end()
    } else response.setHeader('content-type', 'text/html').end('<!doctype html><title>evil</title><body>')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    stop() {
      server.closeAllConnections()
      server.close()
    },
  }
}

export interface Attack {
  /** Names of the kinds of requests that were sent to each address. */
  kinds: string[]
  /** What a page could read. What was changed has to be looked up where it would have happened. */
  read: Breach[]
}

/** Sends every kind of request to each address: from a page of `evil`, and from one whose own name has been pointed at the address. */
export async function attackFrom(browser: Browser, evil: string, addresses: readonly string[]): Promise<Attack> {
  const kinds = new Set<string>()
  const read: Breach[] = []
  const attackAt = async (address: string) => {
    for (const { tried, got } of [await fromForeignPage(browser, evil, address), await fromRebound(browser, address)]) {
      for (const kind of tried) kinds.add(kind)
      read.push(...got.map(kind => ({ kind, address, got: 'read' as const })))
    }
  }
  const waiting = [...addresses]
  const workers = Array.from({ length: 3 }, async () => {
    for (let address = waiting.shift(); address !== undefined; address = waiting.shift()) await attackAt(address)
  })
  await Promise.all(workers)
  return { kinds: [...kinds], read }
}

async function fromForeignPage(browser: Browser, evil: string, address: string) {
  const page = await browser.newPage()
  await page.goto(evil)
  const { tried, read } = await runIn(page, 'foreign', address, evil)
  // what a frame shows, its page cannot read, but its reader can be made to click on
  for (const frame of page.frames().slice(1)) {
    const text = await frame.evaluate('document.body.textContent').catch(() => '')
    const kind = frame.url().startsWith(address) && new URL(frame.url()).searchParams.get('kind')
    if (kind && String(text).includes('secret')) read.push(kind)
  }
  await page.close()
  return { tried, got: read }
}

async function fromRebound(browser: Browser, address: string) {
  const own = address.replace(/\/\/[^:/]+/, '//rebound.evil.example')
  const context = await browser.newContext()
  // the name's first answer was the page, every later one is the platform's
  await context.route(`${own}/`, route => route.fulfill({ contentType: 'text/html', body: '<body>' }))
  const page = await context.newPage()
  await page.goto(`${own}/`)
  const { tried, read } = await runIn(page, 'rebound', own, '')
  await context.close()
  return { tried, got: read }
}

async function runIn(
  page: Page,
  which: string,
  address: string,
  evil: string,
): Promise<{ tried: string[]; read: string[] }> {
  const script = (await readFile(join(root, 'test/helpers/attacks.mjs'), 'utf8')).replace(/^export /gm, '')
  const call = [which, address, evil].map(value => JSON.stringify(value)).join(', ')
  return page.evaluate(`(async () => { ${script}; return attack(${call}) })()`)
}
