// Spans, sent as OTLP over HTTP. Without an endpoint, or when it does not answer, spans are counted and dropped.
import { randomBytes } from 'node:crypto'

/** Spans kept while the endpoint does not answer. */
const limit = 1000
const kinds = { server: 2, client: 3 }
const failed = 2
/** How one application tells the next in which trace, and below which span, a request belongs: W3C Trace Context. */
const traceparent = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}$/

/** `resource` says who sends the spans: attributes, `service.name` above all. */
export function createTracer({ resource, endpoint, metrics }) {
  let waiting = []
  let sending = Promise.resolve()
  const timer = setInterval(() => void flush(), 1000)
  timer.unref()

  function flush() {
    const spans = waiting
    waiting = []
    if (spans.length === 0) return sending
    sending = send(spans)
    return sending
  }

  async function send(spans) {
    const scopeSpans = [{ scope: { name: 'placeholder' }, spans }]
    try {
      const response = await fetch(`${endpoint}/v1/traces`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ resourceSpans: [{ resource: { attributes: pairs(resource) }, scopeSpans }] }),
        signal: AbortSignal.timeout(2000),
      })
      if (!response.ok) throw new Error(`status ${response.status}`)
      metrics.count('spans_sent', spans.length)
    } catch {
      // tracing must never be the reason that a request fails or memory fills
      metrics.count('spans_dropped', spans.length)
    }
  }

  function keep(span) {
    if (!endpoint) return
    if (waiting.length >= limit) return metrics.count('spans_dropped')
    waiting.push(span)
  }

  return {
    flush,
    /** Begins a span. `parent` is the header of the caller, or of the span around it; without one a trace of its own begins. */
    start(name, { kind, parent = '', attributes = {} }) {
      const [, traceId = randomBytes(16).toString('hex'), parentSpanId] = traceparent.exec(parent) ?? []
      const spanId = randomBytes(8).toString('hex')
      // the clock may be set meanwhile, so that a duration needs another one
      const [startedAt, started] = [Date.now(), performance.now()]
      const time = () => nanoseconds(startedAt + performance.now() - started)
      const startTimeUnixNano = time()
      const events = []
      let status = {}
      return {
        traceId,
        spanId,
        header: `00-${traceId}-${spanId}-01`,
        set(more) {
          Object.assign(attributes, more)
        },
        /** The span ends as an error; what was thrown is kept with it. */
        fail(error) {
          status = { code: failed, message: error.message }
          const { name: type, message, stack } = error
          const exception = { 'exception.type': type, 'exception.message': message, 'exception.stacktrace': stack }
          events.push({ name: 'exception', timeUnixNano: time(), attributes: pairs(exception) })
        },
        end() {
          keep({
            ...{ traceId, spanId, name, kind: kinds[kind], startTimeUnixNano, endTimeUnixNano: time() },
            ...(parentSpanId ? { parentSpanId } : {}),
            ...{ attributes: pairs(attributes), events, status },
          })
        },
      }
    },
  }
}

function nanoseconds(ms) {
  return String(BigInt(Math.round(ms * 1000)) * 1000n)
}

/** Attributes as OTLP writes them in JSON; those without a value are left out. */
function pairs(attributes) {
  return Object.entries(attributes).flatMap(([key, value]) => (value === undefined ? [] : { key, value: typed(value) }))
}

function typed(value) {
  if (Array.isArray(value)) return { arrayValue: { values: value.map(typed) } }
  return typeof value === 'number' ? { intValue: value } : { stringValue: value }
}
