import { createHash } from 'node:crypto'
import { type CheckGroup, expectStatus, type Tools } from './check.ts'
import { needsOf } from './urls.ts'

/** OTLP over HTTP, as every OpenTelemetry library knows it. */
const otlpPort = 4318

/** A trace is sent over OTLP and looked up. By its id, because searching finds it only half a minute later. */
export const traces: CheckGroup = ({ platform, unique }) => {
  const service = platform.services.find(({ name }) => name === 'tempo')
  const name = service?.names[0]
  if (service === undefined || name === undefined) return []
  return [
    {
      name: 'a trace, sent and looked up',
      service: service.name,
      needs: needsOf(platform, name),
      realOnly: true,
      run: tools => roundTrip(name, unique, tools),
    },
  ]
}

async function roundTrip(name: string, unique: string, { http, until }: Tools): Promise<string> {
  const hash = createHash('sha256').update(unique).digest('hex')
  const traceId = hash.slice(0, 32)
  const now = BigInt(Date.now()) * 1_000_000n
  const span = {
    traceId,
    spanId: hash.slice(32, 48),
    name: `verify ${unique}`,
    kind: 1,
    startTimeUnixNano: String(now),
    endTimeUnixNano: String(now + 1_000_000n),
  }
  const attributes = [{ key: 'service.name', value: { stringValue: 'macula-verify' } }]
  const body = JSON.stringify({ resourceSpans: [{ resource: { attributes }, scopeSpans: [{ spans: [span] }] }] })
  const sent = await http(`http://${name}:${otlpPort}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  })
  expectStatus(sent, [200], 'Sending the trace')
  return until('The trace that was sent is not found', async () => {
    const answer = expectStatus(await http(`http://${name}/api/v2/traces/${traceId}`), [200, 404], 'Looking it up')
    return answer.status === 200 && answer.body.includes(unique) ? 'sent and looked up by its id' : undefined
  })
}
