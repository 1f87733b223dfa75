// Takes the place of Loki at its OTLP address, and decodes what comes. As a program it prints each line as JSON: node otlp-receiver.mjs IP PORT
import { once } from 'node:events'
import { createServer } from 'node:http'
import protobuf from 'protobufjs'

// the fields of opentelemetry.proto.collector.logs.v1 that are looked at
const { root } = protobuf.parse(`
  syntax = "proto3";
  message Request { repeated ResourceLogs resource_logs = 1; }
  message ResourceLogs { Resource resource = 1; repeated ScopeLogs scope_logs = 2; }
  message Resource { repeated KeyValue attributes = 1; }
  message ScopeLogs { repeated LogRecord log_records = 2; }
  message LogRecord { fixed64 time_unix_nano = 1; AnyValue body = 5; repeated KeyValue attributes = 6; }
  message KeyValue { string key = 1; AnyValue value = 2; }
  message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; double double_value = 4; } }
`)
const request = root.lookupType('Request')

/**
 * Listens for log lines. `lines` grows as they come: { service, body, time, attributes }, time in nanoseconds as text.
 * @param {{ host?: string, port?: number, onLine?: (line: object) => void }} options
 */
export async function receiveLogs({ host = '127.0.0.1', port = 0, onLine = () => {} } = {}) {
  const lines = []
  const server = createServer(async (question, answer) => {
    const chunks = []
    for await (const chunk of question) chunks.push(chunk)
    if (question.method !== 'POST' || question.url !== '/otlp/v1/logs') return answer.writeHead(404).end()
    try {
      for (const line of decode(Buffer.concat(chunks))) {
        lines.push(line)
        onLine(line)
      }
    } catch (error) {
      // 400 is not tried again, so a request that cannot be decoded is seen as lines that are missing
      process.stderr.write(`${error}\n`)
      return answer.writeHead(400).end()
    }
    answer.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
  })
  server.listen(port, host)
  await once(server, 'listening')
  return {
    lines,
    port: server.address().port,
    async stop() {
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

function decode(bytes) {
  const { resourceLogs = [] } = request.toObject(request.decode(bytes), { longs: String })
  return resourceLogs.flatMap(({ resource, scopeLogs = [] }) => {
    const service = attributesOf(resource?.attributes)['service.name']
    return scopeLogs.flatMap(({ logRecords = [] }) =>
      logRecords.map(({ timeUnixNano, body, attributes }) => ({
        service,
        body: contentOf(body),
        time: timeUnixNano,
        attributes: attributesOf(attributes),
      })),
    )
  })
}

function attributesOf(pairs = []) {
  return Object.fromEntries(pairs.map(({ key, value }) => [key, contentOf(value)]))
}

function contentOf(value = {}) {
  return Object.values(value)[0]
}

if (process.argv[1] === import.meta.filename) {
  const [host, port] = process.argv.slice(2)
  await receiveLogs({ host, port: Number(port), onLine: line => process.stdout.write(`${JSON.stringify(line)}\n`) })
}
