import { type Check, type CheckGroup, expectStatus, type Tools, thenCleanUp } from './check.ts'
import { needsOf } from './urls.ts'

/** The stream that checks write to; apart from it, nothing in Loki is touched. */
const selector = '{job="macula-verify"}'

/** A log line is pushed to Loki and read back. */
export const logs: CheckGroup = ({ platform, unique }) => {
  const service = platform.services.find(({ name }) => name === 'loki')
  const name = service?.names[0]
  if (service === undefined || name === undefined) return []
  const check: Check = {
    name: 'a log line, pushed and queried',
    service: service.name,
    needs: needsOf(platform, name),
    realOnly: true,
    run: tools => roundTrip(`http://${name}`, unique, tools),
  }
  return [check]
}

async function roundTrip(base: string, unique: string, { http, cleanUp, until }: Tools): Promise<string> {
  // Loki deletes what lies in the past, in whole seconds
  const end = Math.floor(Date.now() / 1000)
  const written = end - 2
  const line = `verify ${unique}`
  const body = JSON.stringify({
    streams: [{ stream: { job: 'macula-verify' }, values: [[`${written}000000000`, line]] }],
  })
  const query = `${selector} |= "${unique}"`
  const search = new URLSearchParams({ query, start: String(end - 60), end: String(end) })
  return thenCleanUp(
    async () => {
      const pushed = await http(`${base}/loki/api/v1/push`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      })
      expectStatus(pushed, [204], 'The push')
      return until('The line that was pushed is not found', async () => {
        const answer = expectStatus(await http(`${base}/loki/api/v1/query_range?${search}`), [200], 'The query')
        return linesOf(answer.body).includes(line) ? 'pushed and read back' : undefined
      })
    },
    // Loki removes it when the request can no longer be cancelled (delete_request_cancel_period: a day)
    async () => {
      const deleted = await cleanUp(`${base}/loki/api/v1/delete?${search}`, { method: 'POST' })
      expectStatus(deleted, [204], 'Deleting the line')
    },
  )
}

function linesOf(body: string): string[] {
  const { data } = JSON.parse(body) as { data: { result: { values: [string, string][] }[] } }
  return data.result.flatMap(({ values }) => values.map(([, line]) => line))
}
