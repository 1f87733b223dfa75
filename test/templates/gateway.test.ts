import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { renderExample } from '../helpers/example.ts'
import { type Gateway, nginx, type Sent, send, startGateway } from '../helpers/gateway.ts'

const { skip } = nginx
const [prometheus, registry, otlp, s3, loki] = [9090, 5001, 4318, 9000, 3100]
let gateway: Gateway

before(async () => {
  if (skip !== false) return
  gateway = await startGateway(await renderExample(), (request, response) => {
    request.resume()
    request.on('end', () => response.end('reached'))
  })
  gateway.upstream.on('upgrade', (_, socket) =>
    socket.end('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nreached'),
  )
})

after(() => gateway?.stop())

/** Whether a request reached the service behind; one that is refused has to say so with 403. */
async function reaches(sent: Sent): Promise<boolean> {
  const { status, body } = await send(gateway, sent)
  if (body === 'reached') return true
  assert.equal(status, 403, `${status} ${body}`)
  assert.match(body, /^Refused: /)
  return false
}

const own = { host: 'prometheus.macula.local:9090' }
const evil = 'https://evil.example'

describe('a host', { skip }, () => {
  it('is answered under every name that this machine, containers and pods use', async () => {
    const hosts = [
      'prometheus.macula.local',
      'prometheus.macula.local:9090',
      'PROMETHEUS.macula.local:9090',
      'macula.local',
      'anything.of.macula.local',
      '127.0.0.3:9090',
      'localhost:9090',
      'localhost',
      '172.23.0.20:9090',
      '172.23.0.2:9090',
      'prometheus:9090',
      'macula-prometheus:9090',
      'macula-prometheus.macula-infra:9090',
      'host.docker.internal:9090',
    ]
    for (const host of hosts) assert.ok(await reaches({ port: prometheus, headers: { host } }), host)
  })

  it('of somebody else is refused, at each port and at port 80', async () => {
    const hosts = [
      'evil.example',
      'evil.example:9090',
      'macula.local.evil.example',
      'evilmacula.local',
      '127.0.0.1.evil.example',
      '127.0.0.1.nip.io:9090',
      'x172.23.0.20',
      '172.23.0.20.evil.example',
      '8.8.8.8',
      '172.24.0.20',
      'localhost.evil.example',
      'prometheus.evil.example',
    ]
    for (const host of hosts)
      for (const port of [prometheus, registry, otlp, undefined])
        assert.equal(await reaches({ headers: { host }, ...(port === undefined ? {} : { port }) }), false, host)
  })
})

describe('a web page', { skip }, () => {
  it('of the domain reaches every service', async () => {
    for (const origin of ['http://grafana.macula.local', 'http://x.macula.local:9090', 'https://console.macula.local'])
      for (const method of ['GET', 'POST', 'PUT', 'DELETE'])
        assert.ok(await reaches({ port: prometheus, method, headers: { ...own, origin } }), `${method} from ${origin}`)
  })

  it('opened by address or as localhost reaches its own service', async () => {
    for (const host of ['127.0.0.3:9090', 'localhost:9090', 'prometheus:9090'])
      assert.ok(await reaches({ port: prometheus, method: 'POST', headers: { host, origin: `http://${host}` } }), host)
  })

  it('of somebody else reaches none, whatever it sends', async () => {
    const origins = [
      evil,
      'null',
      'http://localhost:3000',
      'http://127.0.0.1:8000',
      'https://macula.local.evil.example',
      'https://evilmacula.local',
      'http://evil.example:9090 http://prometheus.macula.local:9090',
      'chrome-extension://abcdef',
      'http://macula.local@evil.example',
    ]
    for (const origin of origins)
      for (const port of [prometheus, registry, otlp, s3, loki])
        for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']) {
          const { status, body, headers } = await send(gateway, { port, method, headers: { ...own, origin } })
          assert.equal(status, 403, `${method} from ${origin}`)
          assert.notEqual(body, 'reached')
          assert.equal(headers['access-control-allow-origin'], undefined)
        }
  })

  it('that the browser calls cross-site may link to a page, and no more', async () => {
    const site = { ...own, 'sec-fetch-site': 'cross-site' }
    const navigation = { ...site, 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
    assert.ok(await reaches({ port: prometheus, headers: navigation }))
    assert.equal(await reaches({ port: prometheus, headers: { ...navigation, 'sec-fetch-dest': 'iframe' } }), false)
    assert.equal(await reaches({ port: prometheus, method: 'POST', headers: navigation }), false)
    for (const mode of ['no-cors', 'cors', 'websocket'])
      assert.equal(await reaches({ port: prometheus, headers: { ...site, 'sec-fetch-mode': mode } }), false, mode)
    for (const same of ['same-origin', 'same-site', 'none'])
      assert.ok(await reaches({ port: prometheus, headers: { ...own, 'sec-fetch-site': same } }), same)
  })

  it('of somebody else opens no WebSocket', async () => {
    const upgrade = (origin: string) =>
      new Promise<string>((resolve, reject) => {
        const socket = connect(3000, gateway.ip)
        let answer = ''
        socket.on('data', data => {
          answer += data
          socket.end()
        })
        socket.on('close', () => resolve(answer.split('\r\n')[0] ?? ''))
        socket.on('error', reject)
        socket.write(
          `GET /api/live/ws HTTP/1.1\r\nHost: grafana.macula.local:3000\r\nOrigin: ${origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
        )
      })
    assert.match(await upgrade('http://grafana.macula.local:3000'), / 101 /)
    assert.match(await upgrade(evil), / 403 /)
  })

  it('of the domain may send telemetry to Tempo, and only there', async () => {
    const origin = 'http://console.macula.local'
    const asked = {
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'content-type,traceparent',
    }
    const headers = { host: 'tempo.macula.local:4318', origin }
    for (const path of ['/v1/traces', '/v1/metrics', '/v1/logs']) {
      const preflight = await send(gateway, { port: otlp, path, method: 'OPTIONS', headers: { ...headers, ...asked } })
      assert.equal(preflight.status, 204)
      assert.equal(preflight.headers['access-control-allow-origin'], origin)
      assert.equal(preflight.headers['access-control-allow-methods'], 'POST')
      assert.equal(preflight.headers['access-control-allow-headers'], 'content-type,traceparent')
      const sent = await send(gateway, { port: otlp, path, method: 'POST', headers })
      assert.deepEqual([sent.body, sent.headers['access-control-allow-origin']], ['reached', origin])
    }
    const elsewhere = await send(gateway, { port: loki, path: '/v1/logs', method: 'POST', headers })
    assert.equal(elsewhere.headers['access-control-allow-origin'], undefined)
    const foreign = await send(gateway, {
      port: otlp,
      path: '/v1/traces',
      method: 'OPTIONS',
      headers: { ...headers, ...asked, origin: evil },
    })
    assert.deepEqual([foreign.status, foreign.headers['access-control-allow-origin']], [403, undefined])
  })
})

describe('an answer', { skip }, () => {
  it('of any kind is kept from foreign pages, in frames too', async () => {
    const answers: Sent[] = [
      { port: prometheus, headers: own },
      { port: prometheus, headers: { ...own, origin: evil } },
      { headers: { host: 'evil.example' } },
      { headers: { host: 'grafana.macula.local' } },
      { headers: { host: 'home.macula.local' } },
      { path: '/health/loki', headers: { host: 'home.macula.local' } },
      { path: '/healthz', headers: { host: 'home.macula.local' } },
      { headers: { host: 'nobody.macula.local' } },
      { headers: { host: 'tempo.macula.local' } },
      { port: otlp, path: '/v1/traces', headers: { host: 'tempo.macula.local:4318' } },
    ]
    for (const sent of answers) {
      const { headers } = await send(gateway, sent)
      assert.equal(headers['cross-origin-resource-policy'], 'same-site', JSON.stringify(sent))
      assert.match(String(headers['content-security-policy']), /frame-ancestors/, JSON.stringify(sent))
    }
  })
})

describe('a GET', { skip }, () => {
  it('that would change something is refused, and POST is not', async () => {
    const changing: Record<string, string[]> = {
      loki: [
        '/flush',
        '/ingester/shutdown',
        '/ingester/flush_shutdown',
        '//flush',
        '/%66lush',
        '/x/../flush',
        '/flush/',
      ],
      tempo: ['/flush', '/shutdown'],
    }
    for (const [service, paths] of Object.entries(changing))
      for (const path of paths) {
        const headers = { host: `${service}.macula.local` }
        const port = service === 'loki' ? { port: loki } : { port: 3200 }
        for (const at of [port, {}])
          for (const method of ['GET', 'HEAD'])
            assert.equal((await send(gateway, { ...at, method, path, headers })).status, 403, `${method} ${path}`)
      }
    assert.ok(await reaches({ port: loki, method: 'POST', path: '/flush', headers: { host: 'loki.macula.local' } }))
    assert.ok(await reaches({ port: loki, path: '/loki/api/v1/query', headers: { host: 'loki.macula.local' } }))
    assert.ok(await reaches({ port: prometheus, path: '/flush', headers: own }))
  })
})

describe('a program that is no browser', { skip }, () => {
  it('is answered at each documented port, by address and by name', async () => {
    const ports = { prometheus: 9090, grafana: 3000, loki: 3100, s3: 9000, 's3-console': 9001, registry: 5001 }
    for (const [name, port] of Object.entries(ports))
      for (const host of [`${name}.macula.local:${port}`, `127.0.0.9:${port}`, `localhost:${port}`])
        for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'])
          assert.ok(await reaches({ port, method, headers: { host } }), `${method} ${host}`)
  })

  it('may write long URLs and many headers', async () => {
    const path = `/api/v1/query?query=${'x'.repeat(40_000)}`
    assert.ok(await reaches({ port: prometheus, path, headers: own }))
  })
})
