import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type RequestListener, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { type RenderedFile, writeIfChanged } from '../../lib/platform/render.ts'
import { writtenTo } from './example.ts'
import { ask } from './run.ts'
import { freePort, until } from './sockets.ts'
import { debianValidator } from './validators.ts'

/** A real nginx, where there is one, or the reason why there is none. */
export const nginx = await debianValidator('nginx')

/** A real nginx with our rendered configuration, on loopback addresses of its own. */
export interface Gateway {
  /** Where it listens: `port` stands for port 80, every other port has its own number on `ip`. */
  ip: string
  port: number
  /** Where the configuration and the portal's pages are. */
  folder: string
  /** Stands in for every service but Tempo's API, whose address has no listener. */
  upstream: Server
  stop(): Promise<void>
}

/** Starts nginx on `files` with `answer` behind every name and port. Call it only where `nginx.skip` is false. */
export async function startGateway(files: readonly RenderedFile[], answer: RequestListener): Promise<Gateway> {
  const upstream = createServer({ maxHeaderSize: 100_000 }, answer)
  await new Promise<void>(resolve => upstream.listen(0, '127.0.0.1', resolve))
  const port = await freePort()
  // an address that no other test has, so that documented ports can keep their numbers
  const ip = `127.${[100 + (process.pid % 100), Math.floor(port / 256), port % 256].join('.')}`
  const { folder, remove } = await writtenTo(files.filter(({ path }) => /^config\/(nginx|portal)/.test(path)))
  const target = { folder, ip, port, upstreamPort: (upstream.address() as AddressInfo).port }
  for (const { path, content } of files.filter(({ path }) => path.startsWith('config/nginx/')))
    await writeIfChanged(join(folder, path), movedHere(content, target))
  const command = ['-p', folder, '-c', join(folder, 'config/nginx/nginx.conf')]
  let server: ChildProcess | undefined
  const gateway: Gateway = {
    ip,
    port,
    folder,
    upstream,
    async stop() {
      server?.kill('SIGTERM')
      if (server?.exitCode === null) await once(server, 'exit')
      upstream.closeAllConnections()
      upstream.close()
      await remove()
    },
  }
  try {
    const check = await ask([nginx.program, ...command, '-t'], { env: nginx.env })
    if (check.exitCode !== 0) throw new Error(check.stderr)
    server = spawn(nginx.program, [...command, '-g', 'daemon off;'], {
      stdio: 'ignore',
      env: { ...process.env, ...nginx.env },
    })
    await until(
      async () => (await send(gateway, { path: '/healthz', headers: { host: 'localhost' } })).status === 200,
      `nginx listens on ${ip}:${port}`,
    )
    return gateway
  } catch (error) {
    // an upstream that listens on would keep the test's process
    await gateway.stop()
    throw error
  }
}

export interface Sent {
  method?: string
  path?: string
  headers?: Record<string, string>
  body?: Buffer
  /** The documented port; 80 where none is given. */
  port?: number
}

/** Sends one request to the gateway, with just these headers. */
export function send(
  gateway: Pick<Gateway, 'ip' | 'port'>,
  { method = 'GET', path = '/', headers = {}, body, port }: Sent,
) {
  const { ip } = gateway
  return new Promise<{ status: number; headers: Record<string, unknown>; body: string }>((resolve, reject) => {
    const sent = request({ host: ip, port: port ?? gateway.port, method, path, headers }, response => {
      let text = ''
      response.on('data', chunk => {
        text += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** The same configuration with this test's folders, addresses and ports; Tempo's API leads nowhere. */
export function movedHere(
  content: string,
  { folder, ip, port, upstreamPort }: { folder: string; ip: string; port: number; upstreamPort: number },
): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    name => `${name}_temp_path ${folder}/${name};`,
  )
  return content
    .replaceAll('/etc/nginx/macula', `${folder}/config/nginx`)
    .replaceAll('/usr/share/nginx/portal', `${folder}/config/portal`)
    .replaceAll('/etc/nginx/mime.types', join(nginx.folder, 'etc/nginx/mime.types'))
    .replaceAll('/run/nginx.pid', `${folder}/nginx.pid`)
    .replace(/\blisten (\d+)/g, (_, documented) => `listen ${ip}:${documented === '80' ? port : documented}`)
    .replace(/^http \{/m, `http {\n${temporary.join('\n')}`)
    .replace(/^worker_processes.*/m, 'worker_processes 1;')
    .replace(/^(error_log|\s*access_log).*/gm, '$1 /dev/null;')
    .replace(/\b172\.23\.0\.23:3200/g, '127.0.0.1:9')
    .replace(/\b172\.23\.\d+\.\d+:\d+/g, `127.0.0.1:${upstreamPort}`)
}
