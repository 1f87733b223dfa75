// Asks Prometheus under its documented name: reads a list of { path, parameters } as JSON, prints a list of { ms, status, data, error }.
// One question after the other, so that the times are those of a Prometheus that does nothing else.
import { json } from 'node:stream/consumers'

// the first question to a server takes longer for reasons of this process
await fetch('http://prometheus.macula.local/-/ready').catch(() => {})

const answers = []
for (const { path, parameters } of await json(process.stdin)) {
  const started = performance.now()
  const address = `http://prometheus.macula.local/api/v1/${path}?${new URLSearchParams(parameters)}`
  const answer = await fetch(address, { signal: AbortSignal.timeout(10_000) })
    .then(response => response.json())
    .catch(error => ({ status: 'error', error: String(error.cause ?? error) }))
  answers.push({ ...answer, ms: performance.now() - started })
}
console.log(JSON.stringify(answers))
