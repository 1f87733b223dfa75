import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it, test } from 'node:test'
import { parser as logql } from '@grafana/lezer-logql'
import { parser as traceql } from '@grafana/lezer-traceql'
import { parse, stringify } from 'yaml'
import { $ } from '../../lib/system/exec.ts'
import { contentOf, renderExample } from '../helpers/example.ts'
import { queriesIn } from '../helpers/queries.ts'
import { debianValidator } from '../helpers/validators.ts'

const files = await renderExample()
const queries = queriesIn(files)
const promtool = await debianValidator('promtool')
const work = await mkdtemp(join(tmpdir(), 'macula-queries-'))
after(() => rm(work, { recursive: true }))

/** What a parser could not read; undefined for a query that is right. */
function mistakeIn(parser: typeof logql, text: string): string | undefined {
  let mistake: string | undefined
  parser.parse(text).iterate({
    enter({ type, from, to }) {
      if (type.isError) mistake ??= `at ${from}: ${JSON.stringify(text.slice(from, to + 10))}`
    },
  })
  return mistake
}

/** What promtool says of these expressions, as rules: PromQL that does not parse is refused. */
async function promtoolOn(expressions: readonly string[]): Promise<string> {
  const file = join(work, 'rules.yml')
  const rules = expressions.map((expr, index) => ({ record: `query:${index}`, expr }))
  await writeFile(file, stringify({ groups: [{ name: 'queries', rules }] }))
  const { exitCode, stdout, stderr } = await $({
    nothrow: true,
    env: promtool.env,
  })`${promtool.program} check rules ${file}`
  return exitCode === 0 ? '' : stdout + stderr
}

describe('queries of dashboards and data sources', () => {
  it('are there in all three languages, without a variable that is left', () => {
    for (const language of ['promql', 'logql', 'traceql'])
      assert.ok(
        queries.some(query => query.language === language),
        language,
      )
    for (const { text, where } of queries) assert.doesNotMatch(text, /\$/, where)
  })

  it('of Prometheus are PromQL', { skip: promtool.skip }, async () => {
    const expressions = queries.filter(({ language }) => language === 'promql').map(({ text }) => text)
    assert.equal(await promtoolOn(expressions), '')
    assert.match(await promtoolOn([...expressions, 'sum by (job (up)']), /query:\d+.*could not parse expression/)
  })

  for (const [language, parser, wrong] of [
    ['logql', logql, '{service_name="console"} |= '],
    ['traceql', traceql, '{ span.http.status_code >>= 500 '],
  ] as const)
    it(`of ${language === 'logql' ? 'Loki are LogQL' : 'Tempo are TraceQL'}`, () => {
      for (const { text, where } of queries.filter(query => query.language === language))
        assert.equal(mistakeIn(parser as typeof logql, text), undefined, `${where}: ${text}`)
      assert.notEqual(mistakeIn(parser as typeof logql, wrong), undefined)
    })
})

// What the real programs took when they ran here with these files. Neither can be built or run here now: a key is added to a list only after the
// real program of the version that is pinned has started with it.
const accepted = {
  'loki/loki.yml': [
    ...['auth_enabled', 'server.http_listen_port', 'server.log_level', 'common.instance_addr', 'common.path_prefix'],
    ...['common.replication_factor', 'common.ring.kvstore.store', 'common.storage.filesystem.chunks_directory'],
    ...['common.storage.filesystem.rules_directory', 'schema_config.configs.from', 'schema_config.configs.store'],
    ...['schema_config.configs.object_store', 'schema_config.configs.schema', 'schema_config.configs.index.prefix'],
    ...['schema_config.configs.index.period', 'ingester.lifecycler.join_after'],
    ...['ingester.lifecycler.min_ready_duration', 'query_scheduler.use_scheduler_ring'],
    ...['limits_config.allow_structured_metadata', 'limits_config.volume_enabled', 'limits_config.retention_period'],
    ...['compactor.working_directory', 'compactor.retention_enabled', 'compactor.delete_request_store'],
    ...['analytics.reporting_enabled'],
  ],
  'tempo/tempo.yml': [
    ...['server.http_listen_port', 'server.log_level', 'distributor.receivers.otlp.protocols.grpc.endpoint'],
    ...['distributor.receivers.otlp.protocols.http.endpoint', 'storage.trace.backend', 'storage.trace.wal.path'],
    ...['storage.trace.local.path', 'backend_worker.finish_on_shutdown_timeout', 'metrics_generator.storage.path'],
    // not seen: from the structs that version 3 reads its configuration into (modules/backendworker/config.go, tempodb/config.go)
    'backend_worker.compaction.block_retention',
    ...['metrics_generator.storage.remote_write.url', 'metrics_generator.storage.remote_write.send_exemplars'],
    ...['overrides.defaults.metrics_generator.processors', 'usage_report.reporting_enabled'],
  ],
}

/** Every key with a value, as a path; of lists, the keys of their entries. */
function keysOf(value: unknown, path = ''): string[] {
  if (Array.isArray(value) && value.every(item => typeof item === 'object'))
    return [...new Set(value.flatMap(item => keysOf(item, path)))]
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [path]
  return Object.entries(value).flatMap(([key, inner]) => keysOf(inner, path ? `${path}.${key}` : key))
}

for (const [file, known] of Object.entries(accepted))
  test(`${file} has only keys that the real program has been seen to take`, () => {
    const config = parse(contentOf(files, `config/${file}`))
    assert.deepEqual(
      keysOf(config).filter(key => !known.includes(key)),
      [],
    )
    assert.deepEqual(
      keysOf({ ...config, no_such_key: true }).filter(key => !known.includes(key)),
      ['no_such_key'],
    )
  })
