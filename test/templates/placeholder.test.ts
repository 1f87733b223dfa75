import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { root } from '../../lib/system/checkout.ts'

interface Trace {
  resourceSpans: {
    resource: { attributes: { key: string; value: { stringValue: string } }[] }
    scopeSpans: { spans: { traceId: string; parentSpanId?: string; name: string; startTimeUnixNano: string }[] }[]
  }[]
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

describe('the placeholder application', () => {
  const traces: Trace[] = []
  let collector: Server
  let program: ChildProcess
  let url = ''
  let meshPort = 0

  before(async () => {
    collector = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      if (request.url === '/v1/traces') traces.push(JSON.parse(Buffer.concat(chunks).toString()))
      response.end('{}')
    }).listen(0, '127.0.0.1')
    await once(collector, 'listening')
    const [port, mesh] = await Promise.all([freePort(), freePort()])
    meshPort = mesh
    url = `http://127.0.0.1:${port}`
    program = spawn(process.execPath, [join(root, 'templates/applications/placeholder/server.mjs')], {
      env: {
        ...process.env,
        APPLICATION: 'peer1',
        PORT: String(port),
        MESH_PORT: String(mesh),
        MESH_PEERS: `127.0.0.1:${mesh},127.0.0.1:1`,
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(createInterface(program.stdout!), 'line')
  })
  after(() => {
    program.kill('SIGKILL')
    collector.close()
  })

  it('has a page with its name, a health page, and nothing else', async () => {
    assert.match(await (await fetch(url)).text(), /<title>peer1<\/title>/)
    assert.equal(await (await fetch(`${url}/health`)).text(), 'ok\n')
    assert.equal((await fetch(`${url}/other`)).status, 404)
  })

  it('sends a span of each request, in the trace that the caller named', async () => {
    const traceId = 'a'.repeat(32)
    await fetch(`${url}/?traced`, { headers: { traceparent: `00-${traceId}-${'b'.repeat(16)}-01` } })
    const spans = () =>
      traces.flatMap(({ resourceSpans }) => resourceSpans.flatMap(({ scopeSpans }) => scopeSpans[0]?.spans ?? []))
    for (let wait = 0; wait < 50 && !spans().some(span => span.traceId === traceId); wait += 1)
      await new Promise(resume => setTimeout(resume, 100))
    const span = spans().find(span => span.traceId === traceId)
    assert.equal(span?.name, 'GET /')
    assert.equal(span?.parentSpanId, 'b'.repeat(16))
    assert.ok(Math.abs(Number(BigInt(span?.startTimeUnixNano ?? 0) / 1_000_000n) - Date.now()) < 60_000)
    assert.equal(traces[0]?.resourceSpans[0]?.resource.attributes[0]?.value.stringValue, 'peer1')
  })

  it('counts requests by status, without the probes', async () => {
    const text = await (await fetch(`${url}/metrics`)).text()
    assert.match(text, /^http_requests_total\{application="peer1",status="404"\} 1$/m)
    assert.match(text, /^http_requests_total\{application="peer1",status="200"\} 2$/m)
    assert.match(text, /^http_request_duration_seconds_count\{application="peer1"\} 3$/m)
  })

  it('answers a datagram, and tells which peers answer its own', async () => {
    const socket = createSocket('udp4')
    const answered = once(socket, 'message')
    socket.send('ping', meshPort, '127.0.0.1')
    assert.match(String((await answered)[0]), /^peer1 \(.*\) heard: ping$/)
    socket.close()
    const peers = (await (await fetch(`${url}/peers`)).json()) as Record<string, { answer?: string; error?: string }>
    assert.match(peers[`127.0.0.1:${meshPort}`]?.answer ?? '', /heard: hello from peer1/)
    assert.ok(peers['127.0.0.1:1']?.error)
  })

  it('ends by itself within five seconds of SIGTERM', async () => {
    program.kill('SIGTERM')
    const [code] = await once(program, 'exit', { signal: AbortSignal.timeout(5000) })
    assert.equal(code, 0)
  })
})
