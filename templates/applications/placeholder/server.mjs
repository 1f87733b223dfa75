// Placeholder for an application of the platform, until its real source is named in .env. It does what the platform expects of one:
// answers over HTTP, says whether it is healthy, counts what it does, sends a trace of each request, and meets its peers over UDP.
import { createServer } from 'node:http'
import { hostname } from 'node:os'
import { createMesh } from './mesh.mjs'
import { createMetrics } from './metrics.mjs'
import { createTracer } from './tracer.mjs'

const name = process.env.APPLICATION || 'application'
const port = Number(process.env.PORT || 8080)
const version = process.env.VERSION || '1'

const metrics = createMetrics(name)
const tracer = createTracer({ service: name, endpoint: process.env.OTEL_EXPORTER_OTLP_ENDPOINT, metrics })
const mesh = createMesh({
  name,
  port: Number(process.env.MESH_PORT || 0),
  peers: (process.env.MESH_PEERS || '').split(',').filter(Boolean),
  metrics,
})

const pages = {
  '/': async () => [200, 'text/html; charset=utf-8', page()],
  '/health': async () => [200, 'text/plain', 'ok\n'],
  '/metrics': async () => [200, 'text/plain; version=0.0.4', metrics.text()],
  '/peers': async () => [200, 'application/json', `${JSON.stringify(await mesh.greetAll())}\n`],
}

let ending = false
const server = createServer(async (request, response) => {
  const path = new URL(request.url, 'http://localhost').pathname
  const asked = process.hrtime.bigint()
  const span = tracer.start(`${request.method} ${path}`, request.headers.traceparent)
  let status = 500
  try {
    const known = pages[path]
    const [code, type, body] = known ? await known() : [404, 'text/plain', 'not found\n']
    status = code
    // a client that keeps this connection open has to open another one, which reaches the new pod
    if (ending) response.setHeader('connection', 'close')
    response.writeHead(code, { 'content-type': type, traceresponse: span.header })
    response.end(request.method === 'HEAD' ? undefined : body)
  } catch (error) {
    console.error(error)
    response.writeHead(500).end()
  }
  // probes come every second and say nothing about use
  if (path !== '/health' && path !== '/metrics') {
    span.end(status)
    metrics.request(status, Number(process.hrtime.bigint() - asked) / 1e9)
    console.log(
      JSON.stringify({ time: new Date().toISOString(), method: request.method, path, status, trace: span.id }),
    )
  }
})

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

server.listen(port, () =>
  console.log(JSON.stringify({ time: new Date().toISOString(), listening: port, application: name })),
)

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
