import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { recipesFolder } from '../../../lib/sandbox/recipes.ts'
import { createMetrics } from '../../../templates/applications/placeholder/metrics.mjs'
import { createTracer } from '../../../templates/applications/placeholder/tracer.mjs'
import { renderExample } from '../../helpers/example.ts'
import { queriesOfPanels } from '../../helpers/queries.ts'
import { freePort, until } from '../../helpers/sockets.ts'
import { builtValidator, debianValidator } from '../../helpers/validators.ts'

const collector = await builtValidator('collector', 'collector')
const prometheus = await debianValidator('prometheus')

describe("what takes Tempo's place", { skip: collector.skip || prometheus.skip, timeout: 60_000 }, () => {
  let folder: string
  let store: string
  const running: ChildProcess[] = []
  const start = (program: string, args: readonly string[], env: Record<string, string> = {}) =>
    running.push(spawn(program, args, { stdio: 'ignore', env: { ...process.env, ...env } }))

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-spans-'))
    const [grpc, http, web] = [await freePort(), await freePort(), await freePort()]
    store = `http://127.0.0.1:${web}`
    await writeFile(join(folder, 'prometheus.yml'), 'global: {}\n')
    start(
      prometheus.program,
      [
        ...[`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/data`],
        ...[`--web.listen-address=127.0.0.1:${web}`, '--web.enable-remote-write-receiver'],
        '--enable-feature=exemplar-storage',
      ],
      prometheus.env,
    )
    const config = (await readFile(join(recipesFolder, 'tempo/spans.yml'), 'utf8'))
      .replace('http://prometheus:9090', store)
      .replace('0.0.0.0:4317', `127.0.0.1:${grpc}`)
      .replace('0.0.0.0:4318', `127.0.0.1:${http}`)
      .replace('metrics_flush_interval: 15s', 'metrics_flush_interval: 500ms')
    await writeFile(join(folder, 'spans.yml'), config)
    start(collector.program, ['--config', join(folder, 'spans.yml')])
    await sendUntilRated(`http://127.0.0.1:${http}`)
  })
  after(async () => {
    for (const program of running) program.kill('SIGKILL')
    await Promise.all(running.map(program => program.exitCode ?? program.signalCode ?? once(program, 'exit')))
    await rm(folder, { recursive: true, force: true })
  })

  const asked = async (path: string, parameters: Record<string, string>) => {
    const response = await fetch(`${store}/api/v1/${path}?${new URLSearchParams(parameters)}`)
    return ((await response.json()) as { data: { result: unknown[] } & unknown[] }).data
  }

  /** Sends requests as the example applications do, one of four failed, until Prometheus can say at which rate they come. */
  async function sendUntilRated(endpoint: string) {
    const tracer = createTracer({
      resource: { 'service.name': 'console' },
      endpoint,
      metrics: createMetrics('console'),
    })
    const failed = 'rate(traces_spanmetrics_calls_total{status_code="STATUS_CODE_ERROR"}[1m]) > 0'
    await until(async () => {
      for (let index = 0; index < 4; index += 1) {
        const answered = tracer.start('GET /call', { kind: 'server' })
        tracer.start('GET', { kind: 'client', parent: answered.header }).end()
        if (index === 0) answered.fail(new Error('on purpose'))
        answered.end()
      }
      await tracer.flush()
      const { result = [] } = await asked('query', { query: failed }).catch(() => ({ result: [] }))
      return result.length > 0
    }, 'the rate of failed requests')
  }

  it('gives Prometheus what the dashboards ask Tempo for, under the same names and labels', async () => {
    const queries = queriesOfPanels(await renderExample()).filter(({ text }) => text.includes('traces_spanmetrics'))
    assert.ok(queries.length > 10)
    for (const { text, where } of queries) {
      const { result } = await asked('query', { query: text })
      assert.ok(result.length > 0, `${where}: ${text}`)
    }
  })

  it('keeps an exemplar with the trace id for a graph to lead to', async () => {
    const now = Date.now() / 1000
    const range = { start: String(now - 600), end: String(now + 1) }
    const found = await asked('query_exemplars', {
      query: 'traces_spanmetrics_latency_bucket{service="console"}',
      ...range,
    })
    assert.match(JSON.stringify(found), /"trace_id":"[0-9a-f]{32}"/)
  })
})
