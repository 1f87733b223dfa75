// Takes the place of Loki and Tempo at their OTLP addresses, and decodes what comes. As a program it prints each line and each span as JSON:
// node otlp-receiver.mjs IP PORT
import { once } from 'node:events'
import { createServer } from 'node:http'
import { gunzipSync } from 'node:zlib'
import protobuf from 'protobufjs'

// the fields of opentelemetry.proto.collector.logs.v1 and .trace.v1 that are looked at
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Logs { repeated ResourceLogs resource_logs = 1; }
  message ResourceLogs { Resource resource = 1; repeated ScopeLogs scope_logs = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message ScopeLogs { repeated LogRecord log_records = 2; }
  message LogRecord {
    fixed64 time_unix_nano = 1; string severity_text = 3; AnyValue body = 5; repeated KeyValue attributes = 6; bytes trace_id = 9; bytes span_id = 10;
  }
  message Traces { repeated ResourceSpans resource_spans = 1; }
  message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
  message ScopeSpans { repeated Span spans = 2; }
  message Span {
    bytes trace_id = 1; bytes span_id = 2; bytes parent_span_id = 4; string name = 5; int32 kind = 6; fixed64 start_time_unix_nano = 7;
    fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9; repeated Event events = 11; Status status = 15;
  }
  message Event { string name = 2; repeated KeyValue attributes = 3; }
  message Status { string message = 2; int32 code = 3; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message AnyValue {
    oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; ArrayValue array_value = 5; }
  }
  message ArrayValue { repeated AnyValue values = 1; }
`)

/** By path: what comes there, and how it is read. */
const kinds = {
  '/otlp/v1/logs': { type: root.lookupType('Logs'), read: linesOf },
  '/v1/traces': { type: root.lookupType('Traces'), read: spansOf },
}

/**
 * @typedef {{ service: string, resource: Record<string, unknown>, body: string, time: string, severity?: string, attributes: Record<string, unknown>,
 *   traceId?: string, spanId?: string }} Line
 * @typedef {{ service: string, resource: Record<string, unknown>, traceId: string, spanId: string, parentSpanId?: string, name: string, kind: string,
 *   start: string, end: string, attributes: Record<string, unknown>, events: { name: string, attributes: Record<string, unknown> }[], failed: boolean }} Span
 */

/**
 * Listens for log lines and spans, as protobuf or JSON. `lines` and `spans` grow as they come. Ids are hexadecimal, times in nanoseconds as text,
 * kinds of spans as the specification names them; `resource` has the attributes of the sender, `service` its name.
 * @param {{ host?: string, port?: number, onLine?: (line: Line) => void, onSpan?: (span: Span) => void }} options
 */
export async function receiveTelemetry({ host = '127.0.0.1', port = 0, onLine = () => {}, onSpan = () => {} } = {}) {
  /** @type {Line[]} */
  const lines = []
  /** @type {Span[]} */
  const spans = []
  const keep = {
    '/otlp/v1/logs': line => lines.push(line) && onLine(line),
    '/v1/traces': span => spans.push(span) && onSpan(span),
  }
  const server = createServer(async (question, answer) => {
    const chunks = []
    for await (const chunk of question) chunks.push(chunk)
    const kind = kinds[question.url]
    if (question.method !== 'POST' || kind === undefined) return answer.writeHead(404).end()
    try {
      const sent = Buffer.concat(chunks)
      const bytes = question.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent
      for (const item of kind.read(decode(kind.type, bytes, question.headers['content-type']))) keep[question.url](item)
    } catch (error) {
      // 400 is not tried again, so a request that cannot be decoded is seen as lines that are missing
      process.stderr.write(`${error}\n`)
      return answer.writeHead(400).end()
    }
    const json = question.headers['content-type']?.startsWith('application/json')
    answer.writeHead(200, { 'content-type': json ? 'application/json' : 'application/x-protobuf' })
    answer.end(json ? '{}' : undefined)
  })
  server.listen(port, host)
  await once(server, 'listening')
  return {
    lines,
    spans,
    port: server.address().port,
    async stop() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

/** The same object for both encodings: JSON has ids as hexadecimal text, protobuf as bytes. */
function decode(type, bytes, contentType = '') {
  if (contentType.startsWith('application/json')) return JSON.parse(bytes.toString())
  return type.toObject(type.decode(bytes), { longs: String })
}

function linesOf({ resourceLogs = [] }) {
  return resourceLogs.flatMap(({ resource, scopeLogs = [] }) =>
    scopeLogs.flatMap(({ logRecords = [] }) =>
      logRecords.map(({ timeUnixNano, severityText, body, attributes, traceId, spanId }) => ({
        ...senderOf(resource),
        body: contentOf(body),
        time: timeUnixNano,
        severity: severityText,
        attributes: attributesOf(attributes),
        traceId: idOf(traceId),
        spanId: idOf(spanId),
      })),
    ),
  )
}

function spansOf({ resourceSpans = [] }) {
  return resourceSpans.flatMap(({ resource, scopeSpans = [] }) =>
    scopeSpans.flatMap(({ spans = [] }) =>
      spans.map(({ traceId, spanId, parentSpanId, name, kind, attributes, events = [], status, ...times }) => ({
        ...senderOf(resource),
        traceId: idOf(traceId),
        spanId: idOf(spanId),
        parentSpanId: idOf(parentSpanId),
        name,
        kind: ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer'][kind ?? 0],
        start: times.startTimeUnixNano,
        end: times.endTimeUnixNano,
        attributes: attributesOf(attributes),
        events: events.map(({ name, attributes }) => ({ name, attributes: attributesOf(attributes) })),
        failed: status?.code === 2,
      })),
    ),
  )
}

function senderOf(sender) {
  const resource = attributesOf(sender?.attributes)
  return { service: resource['service.name'], resource }
}

function attributesOf(pairs = []) {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, contentOf(value)]))
}

function contentOf(value = {}) {
  const [content] = Object.values(value)
  return content?.values?.map(contentOf) ?? content
}

/** Undefined where there is none, which protobuf may say as no bytes. */
function idOf(id) {
  const text = typeof id === 'string' ? id : Buffer.from(id ?? []).toString('hex')
  return text || undefined
}

if (process.argv[1] === import.meta.filename) {
  const [host, port] = process.argv.slice(2)
  const print = item => process.stdout.write(`${JSON.stringify(item)}\n`)
  await receiveTelemetry({ host, port: Number(port), onLine: print, onSpan: print })
}
