// Placeholder for an application of the platform, until its real source is named in .env. It does what the platform expects of one: answers over
// HTTP, says whether it is healthy, measures what it does, sends a trace of each request and writes a line about it, asks other applications, and
// meets its peers over UDP. All of it without a package; docs/telemetry.md shows the same with OpenTelemetry's own.
import { createServer } from 'node:http'
import { hostname } from 'node:os'
import { askOneself, call } from './calls.mjs'
import { createMesh } from './mesh.mjs'
import { createMetrics } from './metrics.mjs'
import { createTracer } from './tracer.mjs'

const name = process.env.APPLICATION || 'application'
const port = Number(process.env.PORT || 8080)
const version = process.env.VERSION || '1'
/** The applications that this one may ask. */
const peers = listOf(process.env.CALLS)

const metrics = createMetrics(name)
const tracer = createTracer({
  resource: { 'service.name': name, 'service.version': version, 'k8s.pod.name': hostname() },
  endpoint: process.env.OTEL_EXPORTER_OTLP_ENDPOINT,
  metrics,
})
const mesh = createMesh({
  name,
  port: Number(process.env.MESH_PORT || 0),
  peers: listOf(process.env.MESH_PEERS),
  metrics,
})

const pages = {
  '/': async () => [200, 'text/html; charset=utf-8', page()],
  '/health': async () => [200, 'text/plain', 'ok\n'],
  '/metrics': async ({ request }) => [200, ...metrics.answer(request.headers.accept)],
  '/peers': async () => [200, 'application/json', `${JSON.stringify(await mesh.greetAll())}\n`],
  '/call': callNext,
  '/fail': async () => {
    throw new Error('this page always fails, to show what an error looks like')
  },
}
// probes come every second and say nothing about use
const unmeasured = ['/health', '/metrics']

/** /call/peer1/peer2 asks peer1 for /call/peer2, and so on; each says who it is and what the next one said. */
async function callNext({ path, span, requestId }) {
  const [next, ...others] = path.split('/').slice(2)
  const answer = { application: name, traceId: span.traceId, requestId }
  if (next && !peers.includes(next)) return [404, 'text/plain', `${name} does not know ${next}\n`]
  if (next) {
    const headers = requestId ? { 'x-request-id': requestId } : {}
    answer.next = await call(`http://${[next, 'call', ...others].join('/')}`, { tracer, parent: span, headers })
  }
  return [200, 'application/json', `${JSON.stringify(answer)}\n`]
}

let ending = false
const server = createServer(async (request, response) => {
  const { method, headers } = request
  const [path] = request.url.split('?')
  const started = performance.now()
  const route = path.startsWith('/call/') ? '/call' : path
  const known = pages[route]
  // the caller's own name for this request goes along to everything that is done for it
  const requestId = headers['x-request-id']?.slice(0, 200)
  const span = tracer.start(known ? `${method} ${route}` : method, {
    kind: 'server',
    parent: headers.traceparent,
    attributes: {
      'http.request.method': method,
      'http.route': known && route,
      'url.path': path,
      'http.request.header.x-request-id': requestId && [requestId],
    },
  })
  let [status, type, body] = [404, 'text/plain', 'not found\n']
  let problem
  try {
    if (known) [status, type, body] = await known({ request, path, span, requestId })
  } catch (error) {
    problem = error
    ;[status, type, body] = [500, 'text/plain', `${error.message}\n`]
    span.fail(error)
  }
  // a client that keeps this connection open has to open another one, which reaches the new pod
  if (ending) response.setHeader('connection', 'close')
  response.writeHead(status, { 'content-type': type, traceresponse: span.header })
  response.end(method === 'HEAD' ? undefined : body)

  if (unmeasured.includes(route)) return
  const seconds = (performance.now() - started) / 1000
  span.set({ 'http.response.status_code': status })
  span.end()
  metrics.request({ route: known ? route : '', status, seconds, traceId: span.traceId })
  log(problem ? 'error' : 'info', {
    ...{ method, path, status, seconds, error: problem?.stack },
    ...{ trace_id: span.traceId, span_id: span.spanId, request_id: requestId },
  })
})

/** One line for each event. The ids link it to its trace. */
function log(level, event) {
  console.log(JSON.stringify({ time: new Date().toISOString(), level, application: name, ...event }))
}

function listOf(text = '') {
  return text.split(',').filter(Boolean)
}

function page() {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>${name}</title>
<style>body { font: 1rem/1.5 system-ui, sans-serif; margin: 3rem auto; max-width: 36rem; padding: 0 1rem }</style>
<h1>${name}</h1>
<p>Version ${version}, answered by ${hostname()}.</p>
<p>This is the placeholder application. Name the source folder of the real one in <code>.env</code>
(<code>${name.toUpperCase().replaceAll('-', '_')}_SOURCE</code>), then run <code>task build-and-push</code> and <code>task deploy-apps</code>.</p>
</html>
`
}

server.listen(port, () => {
  log('info', { listening: port })
  void askOneself(`http://127.0.0.1:${port}`, { count: Number(process.env.START_REQUESTS || 0), peers })
})

// Connections that are open may finish; new ones have been going elsewhere since before this signal (the deployment's preStop pause).
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    ending = true
    mesh.close()
    server.close()
    server.closeIdleConnections()
    await tracer.flush()
    setTimeout(() => process.exit(0), 2000).unref()
  })
}
