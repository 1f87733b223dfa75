import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { parse } from 'yaml'
import { applicationTargets } from '../../lib/cluster/scrape.ts'
import { root } from '../../lib/system/checkout.ts'
import { PlatformError } from '../../lib/system/errors.ts'
import { NotYet, waitFor } from '../../lib/system/wait.ts'
import { askOneself } from '../../templates/applications/placeholder/calls.mjs'
import { receiveTelemetry, type Span } from '../helpers/otlp-receiver.mjs'
import { listening } from '../helpers/servers.ts'
import { freePort } from '../helpers/sockets.ts'
import { debianValidator } from '../helpers/validators.ts'

interface LogLine {
  level: string
  path?: string
  error?: string
  trace_id?: string
  span_id?: string
  request_id?: string
}

interface Application {
  host: string
  url: string
  program: ChildProcess
  lines: LogLine[]
}

const prometheus = await debianValidator('prometheus')

describe('the placeholder application', () => {
  let tempo: Awaited<ReturnType<typeof receiveTelemetry>>
  let console: Application
  let peer1: Application
  let peer2: Application
  let meshPort = 0
  const programs: ChildProcess[] = []

  before(async () => {
    tempo = await receiveTelemetry()
    meshPort = await freePort()
    peer2 = await start('peer2')
    peer1 = await start('peer1', {
      CALLS: `${peer2.host},127.0.0.1:1`,
      MESH_PORT: String(meshPort),
      MESH_PEERS: `127.0.0.1:${meshPort},127.0.0.1:1`,
    })
    console = await start('console', { CALLS: [peer1.host, peer2.host].join(), START_REQUESTS: '2' })
  })
  after(async () => {
    for (const program of programs) program.kill('SIGKILL')
    await tempo?.stop()
  })

  async function start(name: string, env: Record<string, string> = {}): Promise<Application> {
    const host = `127.0.0.1:${await freePort()}`
    const program = spawn(process.execPath, [join(root, 'templates/applications/placeholder/server.mjs')], {
      env: {
        ...process.env,
        ...{ APPLICATION: name, PORT: host.split(':')[1] },
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${tempo.port}`,
        ...env,
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    programs.push(program)
    const lines: LogLine[] = []
    const reader = createInterface(program.stdout)
    reader.on('line', line => lines.push(JSON.parse(line)))
    await once(reader, 'line')
    return { host, url: `http://${host}`, program, lines }
  }
  /** The spans of a trace, once there are so many; the caller's before those of whom it called. */
  const spansOf = async (traceId: string, count: number): Promise<Span[]> => {
    const those = () => tempo.spans.filter(span => span.traceId === traceId)
    await waitFor(() => those().length >= count || new NotYet(`${those().length} of ${count} spans came`), {
      timeoutMs: 10_000,
      onTimeout: seen => new PlatformError(`trace ${traceId}: ${seen}`),
    })
    const inOrder: Span[] = []
    for (let next = those().filter(({ parentSpanId }) => !those().some(({ spanId }) => spanId === parentSpanId)); ; ) {
      inOrder.push(...next)
      const ids = next.map(({ spanId }) => spanId)
      next = those().filter(({ parentSpanId }) => parentSpanId !== undefined && ids.includes(parentSpanId))
      if (next.length === 0) return inOrder
    }
  }
  const traceIdOf = (response: Response) => response.headers.get('traceresponse')?.split('-')[1] ?? ''

  it('has a page with its name, a health page, and nothing else', async () => {
    assert.match(await (await fetch(peer1.url)).text(), /<title>peer1<\/title>/)
    assert.equal(await (await fetch(`${peer1.url}/health`)).text(), 'ok\n')
    for (const path of ['/other', '//', '/health/more']) assert.equal((await fetch(peer1.url + path)).status, 404)
  })

  it('sends a span of each request, in the trace that the caller named', async () => {
    const traceId = 'a'.repeat(32)
    await fetch(`${peer1.url}/?traced`, { headers: { traceparent: `00-${traceId}-${'b'.repeat(16)}-01` } })
    const [span] = await spansOf(traceId, 1)
    assert.deepEqual([span?.name, span?.kind, span?.service], ['GET /', 'server', 'peer1'])
    assert.equal(span?.parentSpanId, 'b'.repeat(16))
    assert.ok(Math.abs(Number(BigInt(span?.start ?? 0) / 1_000_000n) - Date.now()) < 60_000)
    assert.ok(BigInt(span?.end ?? 0) > BigInt(span?.start ?? 0))
  })

  it('begins a trace of its own where the caller names none that is valid', async () => {
    for (const traceparent of [`00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`, 'nonsense']) {
      const [span] = await spansOf(traceIdOf(await fetch(peer1.url, { headers: { traceparent } })), 1)
      assert.match(span?.traceId ?? '', /^(?!0{32})[0-9a-f]{32}$/)
      assert.equal(span?.parentSpanId, undefined)
    }
  })

  it("passes a request on to the next application and the one behind it, in one trace, with the caller's own name for it", async () => {
    const path = `/call/${peer1.host}/${peer2.host}`
    const response = await fetch(console.url + path, { headers: { 'x-request-id': 'my "own" request' } })
    const traceId = traceIdOf(response)
    assert.deepEqual(await response.json(), {
      ...{ application: 'console', traceId, requestId: 'my "own" request' },
      next: {
        ...{ application: 'peer1', traceId, requestId: 'my "own" request' },
        next: { application: 'peer2', traceId, requestId: 'my "own" request' },
      },
    })
    const spans = await spansOf(traceId, 5)
    assert.deepEqual(
      spans.map(({ service, kind, name }) => `${service} ${kind} ${name}`),
      ['console server', 'console client', 'peer1 server', 'peer1 client', 'peer2 server'].map(
        span => `${span} GET${span.endsWith('client') ? '' : ' /call'}`,
      ),
    )
    for (const [index, { parentSpanId, attributes, kind }] of spans.entries()) {
      assert.equal(parentSpanId, spans[index - 1]?.spanId)
      if (kind === 'server')
        assert.deepEqual(attributes['http.request.header.x-request-id'], ['my "own" request'], String(index))
    }
    const servers = spans.filter(({ kind }) => kind === 'server')
    for (const [index, application] of [console, peer1, peer2].entries()) {
      const line = application.lines.find(({ trace_id }) => trace_id === traceId)
      assert.deepEqual([line?.span_id, line?.request_id], [servers[index]?.spanId, 'my "own" request'])
    }
  })

  it('asks nobody whom it was not told of', async () => {
    const response = await fetch(`${peer2.url}/call/${peer1.host}`)
    assert.deepEqual([response.status, await response.text()], [404, `peer2 does not know ${peer1.host}\n`])
  })

  it('says in span and log line what failed: its own work, and a call', async () => {
    const failed = await fetch(`${peer1.url}/fail`)
    assert.equal(failed.status, 500)
    const [span] = await spansOf(traceIdOf(failed), 1)
    assert.equal(span?.failed, true)
    assert.equal(span?.attributes['http.response.status_code'] ?? '', 500)
    assert.match(String(span?.events[0]?.attributes['exception.message']), /always fails/)
    const line = peer1.lines.find(({ trace_id }) => trace_id === traceIdOf(failed))
    assert.deepEqual([line?.level, /always fails/.test(line?.error ?? '')], ['error', true])

    const spans = await spansOf(traceIdOf(await fetch(`${peer1.url}/call/127.0.0.1:1`)), 2)
    assert.deepEqual(
      spans.map(({ kind, failed }) => [kind, failed]),
      [
        ['server', true],
        ['client', true],
      ],
    )
  })

  it('counts requests by page and status, without the probes', async () => {
    const text = await (await fetch(`${peer1.url}/metrics`)).text()
    assert.match(text, /^http_requests_total\{application="peer1",route="",status="404"\} 3$/m)
    assert.match(text, /^http_requests_total\{application="peer1",route="\/fail",status="500"\} 1$/m)
    assert.match(text, /^http_request_duration_seconds_count\{application="peer1",route="\/fail"\} 1$/m)
    assert.doesNotMatch(text, /route="\/(health|metrics)"|# EOF|trace_id/)
  })

  it('names the trace beside a duration, for those who read OpenMetrics', async () => {
    const traceId = traceIdOf(await fetch(`${peer2.url}/fail`))
    const accept = 'application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3'
    const response = await fetch(`${peer2.url}/metrics`, { headers: { accept } })
    assert.match(response.headers.get('content-type') ?? '', /^application\/openmetrics-text; version=1\.0\.0/)
    const text = await response.text()
    const bucket = `^http_request_duration_seconds_bucket\\{application="peer2",route="/fail",le="[\\d.]+"\\} 1`
    assert.match(text, new RegExp(`${bucket} # \\{trace_id="${traceId}"\\} [\\d.e-]+ [\\d.]+$`, 'm'))
    assert.match(text, /^# TYPE http_requests counter$/m)
    assert.match(text, /\n# EOF\n$/)
  })

  it('is scraped by the real Prometheus with our settings, which keeps the trace beside the duration', {
    skip: prometheus.skip,
  }, async () => {
    const folder = await mkdtemp(join(tmpdir(), 'macula-exemplars-'))
    const web = `127.0.0.1:${await freePort()}`
    const template = { metadata: { annotations: { 'prometheus.io/scrape': 'true' } } }
    const deployment = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'peer2' }, spec: { template } }
    const [target] = applicationTargets([deployment], 'test')
    await mkdir(join(folder, 'targets'))
    await writeFile(join(folder, 'targets/a.json'), JSON.stringify([{ ...target, targets: [peer2.host] }]))
    await copyFile(join(root, 'templates/prometheus/prometheus.yml'), join(folder, 'prometheus.yml'))
    const features = ['--enable-feature=exemplar-storage', `--web.listen-address=${web}`]
    const files = [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`]
    const options = { stdio: 'ignore', env: { ...process.env, ...prometheus.env } } as const
    const program = spawn(prometheus.program, [...files, ...features], options)
    programs.push(program)
    const traceId = traceIdOf(await fetch(`${peer2.url}/fail`))
    const query = new URLSearchParams({
      query: 'http_request_duration_seconds_bucket{job="peer2",group="applications",route="/fail"}',
      start: String(Date.now() / 1000 - 60),
      end: String(Date.now() / 1000 + 60),
    })
    const look = async () => {
      const answer = await fetch(`http://${web}/api/v1/query_exemplars?${query}`).then(
        response => response.text(),
        () => '',
      )
      return answer.includes(`"trace_id":"${traceId}"`) || new NotYet(answer)
    }
    await waitFor(look, { timeoutMs: 30_000, pauseMs: 200, onTimeout: seen => new PlatformError(seen) })
    program.kill('SIGKILL')
    await once(program, 'exit')
    await rm(folder, { recursive: true })
  })

  it('writes trace ids the way that Grafana looks for them, in lines and beside durations', async () => {
    const file = join(root, 'templates/grafana/datasources/macula.yml')
    const { datasources } = parse(await readFile(file, 'utf8')) as {
      datasources: {
        uid: string
        jsonData: {
          exemplarTraceIdDestinations?: { name: string }[]
          derivedFields?: { matcherType: string; matcherRegex: string }[]
        }
      }[]
    }
    const sourceOf = (uid: string) => datasources.find(source => source.uid === uid)?.jsonData
    const inText = sourceOf('loki')?.derivedFields?.find(({ matcherType }) => matcherType === 'regex')
    const traceId = traceIdOf(await fetch(peer2.url))
    await spansOf(traceId, 1)
    const line = peer2.lines.find(({ trace_id }) => trace_id === traceId)
    // JavaScript says beside a pattern what Go says in it
    const pattern = new RegExp(inText?.matcherRegex.replace('(?i)', '') ?? 'none', 'i')
    assert.equal(pattern.exec(JSON.stringify(line))?.[1], traceId)
    const labels = sourceOf('prometheus')?.exemplarTraceIdDestinations?.map(({ name }) => name)
    // ours, and Tempo's
    assert.deepEqual(labels, ['trace_id', 'traceID'])
  })

  it('asks itself for a page that fails and then the chain, after its start', async () => {
    const chain = `/call/${peer1.host}/${peer2.host}`
    const own = () => console.lines.filter(({ path, request_id }) => path && request_id === undefined)
    await waitFor(() => own().length >= 2 || new NotYet(`${own().length} requests`), {
      timeoutMs: 10_000,
      onTimeout: seen => new PlatformError(seen),
    })
    assert.deepEqual(
      own().map(({ path }) => path),
      ['/fail', chain],
    )
  })

  it('does so as often as it was told, and only once its peers are there', async () => {
    const asked: (string | undefined)[] = []
    const server = createServer(({ url }, answer) => {
      asked.push(url)
      answer.end('{}')
    })
    const { port } = await listening(server)
    const host = `127.0.0.1:${port}`
    await askOneself(`http://${host}`, { count: 3, peers: [host] })
    const [fail, call] = ['/fail', `/call/${host}`]
    assert.deepEqual(asked.splice(0), ['/health', fail, '/health', call, '/health', call])
    await askOneself(`http://${host}`, { count: 1, peers: ['127.0.0.1:1'] })
    await askOneself(`http://${host}`, { count: 0, peers: [host] })
    assert.deepEqual(asked, [])
  })

  it('answers a datagram, and tells which peers answer its own', async () => {
    const socket = createSocket('udp4')
    const answered = once(socket, 'message')
    socket.send('ping', meshPort, '127.0.0.1')
    assert.match(String((await answered)[0]), /^peer1 \(.*\) heard: ping$/)
    socket.close()
    const peers = (await (await fetch(`${peer1.url}/peers`)).json()) as Record<
      string,
      { answer?: string; error?: string }
    >
    assert.match(peers[`127.0.0.1:${meshPort}`]?.answer ?? '', /heard: hello from peer1/)
    assert.ok(peers['127.0.0.1:1']?.error)
  })

  it('ends by itself within five seconds of SIGTERM', async () => {
    peer1.program.kill('SIGTERM')
    const [code] = await once(peer1.program, 'exit', { signal: AbortSignal.timeout(5000) })
    assert.equal(code, 0)
  })
})
