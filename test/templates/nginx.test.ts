import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createServer, request } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { writeIfChanged } from '../../lib/platform/render.ts'
import { ask } from '../../lib/system/exec.ts'
import { renderExample, writtenTo } from '../helpers/example.ts'
import { freePort, until } from '../helpers/sockets.ts'
import { debianValidator } from '../helpers/validators.ts'

const nginx = await debianValidator('nginx')
const files = await renderExample()
// stands in for every service, and says what reached it
const upstream = createServer((request, response) => {
  let bytes = 0
  request.on('data', chunk => {
    bytes += chunk.length
  })
  request.on('end', () => response.end(JSON.stringify({ url: request.url, headers: request.headers, bytes })))
})
upstream.on('upgrade', (_, socket) => {
  socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello')
})

let port = 0
let server: ChildProcess | undefined
let removeFiles = async () => {}

before(async () => {
  if (nginx.skip !== false) return
  port = await freePort()
  await new Promise<void>(resolve => upstream.listen(0, '127.0.0.1', resolve))
  const gateway = files.filter(({ path }) => /^config\/(nginx|portal)/.test(path))
  const { folder, remove } = await writtenTo(gateway)
  removeFiles = remove
  for (const { path, content } of gateway.filter(({ path }) => path.startsWith('config/nginx')))
    await writeIfChanged(join(folder, path), movedHere(content, folder, (upstream.address() as AddressInfo).port))
  const command = ['-p', folder, '-c', join(folder, 'config/nginx/nginx.conf')]
  const check = await ask([nginx.program, ...command, '-t'], { env: nginx.env })
  assert.equal(check.exitCode, 0, check.stderr)
  server = spawn(nginx.program, [...command, '-g', 'daemon off;'], {
    stdio: 'ignore',
    env: { ...process.env, ...nginx.env },
  })
  await until(async () => (await get('localhost', '/healthz')).status === 200, `nginx listens on 127.0.0.1:${port}`)
})

after(async () => {
  server?.kill('SIGTERM')
  upstream.closeAllConnections()
  upstream.close()
  await removeFiles()
})

test('nginx takes the configuration and answers', { skip: nginx.skip }, async () => {
  assert.deepEqual(await get('localhost', '/healthz'), { status: 200, body: 'ok\n' })
})

test('a name leads to its service, with path, query and Host as the client wrote them', {
  skip: nginx.skip,
}, async () => {
  const { url, headers } = JSON.parse((await get('grafana.macula.local:3000', '/a%2Fb//c?d=e')).body)
  assert.equal(url, '/a%2Fb//c?d=e')
  assert.equal(headers.host, 'grafana.macula.local:3000')
  assert.equal(headers['x-forwarded-proto'], 'http')
})

test('header names with an underscore arrive', { skip: nginx.skip }, async () => {
  const { headers } = JSON.parse((await get('s3.macula.local', '/', { 'x-amz-meta-a_b': 'c' })).body)
  assert.equal(headers['x-amz-meta-a_b'], 'c')
})

test('a body of any size passes', { skip: nginx.skip }, async () => {
  const { status, body } = await send('PUT', 's3.macula.local', '/bucket/object', {}, Buffer.alloc(20_000_000))
  assert.equal(status, 200)
  assert.equal(JSON.parse(body).bytes, 20_000_000)
})

test('a WebSocket is upgraded', { skip: nginx.skip }, async () => {
  const socket = connect(port, '127.0.0.1')
  socket.write(
    'GET /api/live/ws HTTP/1.1\r\nHost: grafana.macula.local\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  )
  let answer = ''
  for await (const chunk of socket) answer += chunk
  assert.match(answer, /^HTTP\/1\.1 101 [\s\S]*hello$/)
})

test('an unknown name is told which names there are, and its own is shown as text', { skip: nginx.skip }, async () => {
  const { status, body } = await get('nobody.macula.local', '/<b>')
  assert.equal(status, 404)
  assert.match(body, /Nothing at nobody\.macula\.local\/&lt;b&gt;/)
  assert.match(body, /<a href="http:\/\/home\.macula\.local\/">/)
  assert.match(body, /<a href="http:\/\/grafana\.macula\.local\/">/)
})

test('a service that is down is named', { skip: nginx.skip }, async () => {
  const { status, body } = await get('tempo.macula.local', '/api/search')
  assert.equal(status, 502)
  assert.match(body, /tempo\.macula\.local does not answer/)
})

test('home is the portal, which nothing else of the disk is', { skip: nginx.skip }, async () => {
  const { status, body } = await get('home.macula.local', '/')
  assert.equal(status, 200)
  assert.equal(body, files.find(({ path }) => path === 'config/portal/index.html')?.content)
  for (const path of ['/index.html', '/pages/down.html', '/.macula/down.html', '/.macula/../index.html', '/etc/passwd'])
    assert.equal((await get('home.macula.local', path)).status, 404, path)
})

test('the portal hears from a service under its own origin', { skip: nginx.skip }, async () => {
  const up = await get('home.macula.local', '/health/loki')
  assert.deepEqual([up.status, JSON.parse(up.body).url], [200, '/ready'])
  assert.equal((await get('home.macula.local', '/health/tempo')).status, 502)
})

test('each state that the portal asks for is one that nginx knows', { skip: nginx.skip }, async () => {
  const { body } = await get('home.macula.local', '/')
  const asked = [...body.matchAll(/data-service="(.*?)"/g)].map(([, name]) => name)
  assert.ok(asked.length > 5)
  for (const name of asked) assert.notEqual((await get('home.macula.local', `/health/${name}`)).status, 404, name)
})

/** The same configuration with this test's folders and ports; Tempo's address leads nowhere. */
function movedHere(content: string, folder: string, upstreamPort: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    name => `${name}_temp_path ${folder}/${name};`,
  )
  return content
    .replaceAll('/etc/nginx/macula', `${folder}/config/nginx`)
    .replaceAll('/usr/share/nginx/portal', `${folder}/config/portal`)
    .replaceAll('/etc/nginx/mime.types', join(nginx.folder, 'etc/nginx/mime.types'))
    .replaceAll('/run/nginx.pid', `${folder}/nginx.pid`)
    .replaceAll('listen 80', `listen 127.0.0.1:${port}`)
    .replace(/^http \{/m, `http {\n${temporary.join('\n')}`)
    .replace(/^worker_processes.*/m, 'worker_processes 1;')
    .replace(/^(error_log|\s*access_log).*/gm, '$1 /dev/null;')
    .replace(/\b172\.23\.0\.23:\d+/g, '127.0.0.1:9')
    .replace(/\b172\.23\.\d+\.\d+:\d+/g, `127.0.0.1:${upstreamPort}`)
}

function get(host: string, path: string, headers: Record<string, string> = {}) {
  return send('GET', host, path, headers)
}

function send(method: string, host: string, path: string, headers: Record<string, string>, payload?: Buffer) {
  return new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, method, path, headers: { ...headers, host } }, response => {
      let body = ''
      response.on('data', chunk => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode, body }))
    })
    sent.on('error', reject)
    sent.end(payload)
  })
}
