import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { issue } from '../../lib/cluster/issue.ts'
import { certificateMetric } from '../../lib/cluster/scrape.ts'
import { renderExample } from '../helpers/example.ts'
import { type Gateway, nginx, send, startGateway } from '../helpers/gateway.ts'
import { run } from '../helpers/run.ts'
import { debianValidator } from '../helpers/validators.ts'

const { skip } = nginx
const promtool = await debianValidator('promtool')
const days = { leafDays: 90, caDays: 900, marginDays: 30 }
const files = await renderExample()
let gateway: Gateway

before(async () => {
  if (skip !== false) return
  // stands in for every service, and says what reached it
  gateway = await startGateway(files, (request, response) => {
    let bytes = 0
    request.on('data', chunk => {
      bytes += chunk.length
    })
    request.on('end', () => response.end(JSON.stringify({ url: request.url, headers: request.headers, bytes })))
  })
  gateway.upstream.on('upgrade', (_, socket) => {
    socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello')
  })
})

after(() => gateway?.stop())

test('nginx takes the configuration and answers', { skip }, async () => {
  assert.deepEqual(await get('localhost', '/healthz'), { status: 200, body: 'ok\n' })
})

test('a name is forwarded to its service, with path, query and Host as the client wrote them', { skip }, async () => {
  const { url, headers } = JSON.parse((await get('grafana.macula.local:3000', '/a%2Fb//c?d=e')).body)
  assert.equal(url, '/a%2Fb//c?d=e')
  assert.equal(headers.host, 'grafana.macula.local:3000')
  assert.equal(headers['x-forwarded-proto'], 'http')
})

test('header names with an underscore arrive', { skip }, async () => {
  const { headers } = JSON.parse((await get('s3.macula.local', '/', { 'x-amz-meta-a_b': 'c' })).body)
  assert.equal(headers['x-amz-meta-a_b'], 'c')
})

test('a body of any size passes', { skip }, async () => {
  const { status, body } = await send(gateway, {
    method: 'PUT',
    path: '/bucket/object',
    headers: { host: 's3.macula.local' },
    body: Buffer.alloc(20_000_000),
  })
  assert.equal(status, 200)
  assert.equal(JSON.parse(body).bytes, 20_000_000)
})

test('a WebSocket is upgraded', { skip }, async () => {
  const socket = connect(gateway.port, gateway.ip)
  socket.write(
    'GET /api/live/ws HTTP/1.1\r\nHost: grafana.macula.local\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  )
  let answer = ''
  for await (const chunk of socket) answer += chunk
  assert.match(answer, /^HTTP\/1\.1 101 [\s\S]*hello$/)
})

test('an unknown name is told which names there are, and its own is shown as text', { skip }, async () => {
  const { status, body } = await get('nobody.macula.local', '/<b>')
  assert.equal(status, 404)
  assert.match(body, /Nothing at nobody\.macula\.local\/&lt;b&gt;/)
  assert.match(body, /<a href="http:\/\/home\.macula\.local\/">/)
  assert.match(body, /<a href="http:\/\/grafana\.macula\.local\/">/)
})

test('a service that is down is named', { skip }, async () => {
  const { status, body } = await get('tempo.macula.local', '/api/search')
  assert.equal(status, 502)
  assert.match(body, /tempo\.macula\.local does not answer/)
})

test('home is the portal, which nothing else of the disk is', { skip }, async () => {
  const { status, body } = await get('home.macula.local', '/')
  assert.equal(status, 200)
  assert.equal(body, files.find(({ path }) => path === 'config/portal/index.html')?.content)
  for (const path of ['/index.html', '/pages/down.html', '/.macula/down.html', '/.macula/../index.html', '/etc/passwd'])
    assert.equal((await get('home.macula.local', path)).status, 404, path)
})

test('the portal hears from a service under its own origin', { skip }, async () => {
  const up = await get('home.macula.local', '/health/loki')
  assert.deepEqual([up.status, JSON.parse(up.body).url], [200, '/ready'])
  assert.equal((await get('home.macula.local', '/health/tempo')).status, 502)
})

test('Prometheus reads of nginx its connections, and of the certificate when it ends once there is one', {
  skip: nginx.skip || promtool.skip,
}, async () => {
  const scrape = () => send(gateway, { path: '/metrics', headers: { host: 'nginx:9113' }, port: 9113 })
  const before = await scrape()
  assert.match(before.body, /^nginx_connections_active [1-9]\d*$/m)
  assert.match(before.body, /^nginx_connections_total [1-9]\d*$/m)
  assert.doesNotMatch(before.body, /macula_certificate|error/)
  const { certificate } = await issue(['*.macula.local'], 'macula.local', { certificate: '', key: '' }, days)
  await writeFile(join(gateway.folder, 'config/portal/certificates.txt'), certificateMetric(certificate))
  const { body, headers } = await scrape()
  const end = Number(/^macula_certificate_end_seconds\{name="\*\.macula\.local"\} (\d+)$/m.exec(body)?.[1])
  assert.equal(Math.round((end - Date.now() / 1000) / 86400), days.leafDays)
  assert.equal(headers['content-type'], 'text/plain; version=0.0.4')
  await run([promtool.program, 'check', 'metrics'], { env: promtool.env, input: body })
})

test('metrics are for those who may ask at all', { skip }, async () => {
  for (const host of ['evil.example', 'evil.example:9113'])
    assert.equal((await send(gateway, { path: '/metrics', headers: { host }, port: 9113 })).status, 403)
  const inner = await send(gateway, { path: '/certificates.txt', headers: { host: 'nginx:9113' }, port: 9113 })
  assert.equal(inner.status, 404)
})

test('each state that the portal asks for is one that nginx knows', { skip }, async () => {
  const { body } = await get('home.macula.local', '/')
  const asked = [...body.matchAll(/data-probe="(.*?)"/g)].map(([, path = '']) => path)
  assert.ok(asked.length > 5)
  // nobody has tried the ports of databases here
  const databases = ['/health/timescaledb', '/health/powerdns-db']
  for (const path of asked)
    assert.equal((await get('home.macula.local', path)).status === 404, databases.includes(path), path)
})

async function get(host: string, path: string, headers: Record<string, string> = {}) {
  const { status, body } = await send(gateway, { path, headers: { ...headers, host } })
  return { status, body }
}

test('nginx takes the longest names that the settings allow', { skip, timeout: 30_000 }, async () => {
  const settings = {
    MACULA_PROJECT: 'p'.repeat(31),
    MACULA_DOMAIN: `${['d', 'e', 'f'].map(c => c.repeat(60)).join('.')}.test`,
  }
  const long = await startGateway(await renderExample({ settings }), (_, response) => response.end('well'))
  try {
    const { status } = await send(long, { path: '/', headers: { host: `grafana.${settings.MACULA_DOMAIN}` } })
    assert.equal(status, 200)
  } finally {
    await long.stop()
  }
})
