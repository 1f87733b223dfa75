import assert from 'node:assert/strict'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { parse } from 'yaml'
import { root } from '../../lib/system/checkout.ts'
import { contentOf, examplePlatform, renderExample, writtenTo } from '../helpers/example.ts'
import { ask, run } from '../helpers/run.ts'
import { builtValidator, debianValidator } from '../helpers/validators.ts'

const files = await renderExample()
const { folder, remove } = await writtenTo(files)
after(remove)
const promtool = await debianValidator('promtool')
const collector = await builtValidator('collector', 'collector')

interface DataSource {
  uid: string
  url: string
  jsonData: object
}
const dataSources = (parse(contentOf(files, 'config/grafana/datasources/macula.yml')) as { datasources: DataSource[] })
  .datasources
const dashboards = files.filter(({ path }) => path.startsWith('config/grafana/dashboards/') && path.endsWith('.json'))

test('promtool takes the configuration and the targets', { skip: promtool.skip }, async () => {
  const { stdout } = await run(
    [promtool.program, 'check', 'config', join(folder, 'config/prometheus/prometheus.yml')],
    {
      env: promtool.env,
    },
  )
  assert.doesNotMatch(stdout, /WARNING|FAILED/)
})

test('each alert fires where it should, and does not where it should not', { skip: promtool.skip }, async () => {
  const tests = join(root, 'test/templates/alerts.yml')
  const beside = join(folder, 'config/prometheus/alerts.yml')
  await copyFile(tests, beside)
  await run([promtool.program, 'test', 'rules', beside], { env: promtool.env })
  // the other way round: a service that never went down
  await writeFile(beside, (await readFile(tests, 'utf8')).replace("'1x5 0x20'", "'1x26'"))
  const { exitCode } = await ask([promtool.program, 'test', 'rules', beside], { env: promtool.env })
  assert.notEqual(exitCode, 0)
})

test('each alert has a test in which it fires and one in which it does not', async () => {
  const { groups } = parse(contentOf(files, 'config/prometheus/rules/macula.yml')) as {
    groups: { rules: { alert: string; annotations: { summary: string } }[] }[]
  }
  const { tests } = parse(await readFile(join(root, 'test/templates/alerts.yml'), 'utf8')) as {
    tests: { alert_rule_test: { alertname: string; exp_alerts?: object[] }[] }[]
  }
  const cases = tests.flatMap(({ alert_rule_test }) => alert_rule_test)
  for (const { alert, annotations } of groups.flatMap(({ rules }) => rules)) {
    const own = cases.filter(({ alertname }) => alertname === alert)
    assert.ok(
      own.some(({ exp_alerts }) => exp_alerts !== undefined),
      `${alert} fires`,
    )
    assert.ok(
      own.some(({ exp_alerts }) => exp_alerts === undefined),
      `${alert} does not`,
    )
    assert.ok(annotations.summary.length > 0, alert)
  }
})

test('everything with metrics is scraped, by its name on the network', async () => {
  const { services } = await examplePlatform()
  const groups = JSON.parse(contentOf(files, 'config/prometheus/targets/services.json')) as { targets: string[] }[]
  assert.deepEqual(
    groups.flatMap(({ targets }) => targets),
    [
      'nginx:9113',
      'registry:5001',
      'powerdns:8081',
      'powerdns-db-metrics:9187',
      'prometheus:9090',
      'grafana:3000',
      'loki:3100',
      'tempo:3200',
      'collector:8888',
      'machine-metrics:9100',
      'timescaledb-metrics:9187',
      'minio:9000',
    ],
  )
  for (const { targets } of groups) assert.ok(services.some(({ name }) => targets[0]?.startsWith(`${name}:`)))
})

test('the collector takes its configuration', { skip: collector.skip }, async () => {
  await run([collector.program, 'validate', '--config', join(folder, 'config/collector/collector.yml')])
})

test('Tempo receives traces from other containers and hands its metrics to Prometheus', () => {
  const tempo = parse(contentOf(files, 'config/tempo/tempo.yml'))
  assert.equal(tempo.distributor.receivers.otlp.protocols.grpc.endpoint, '0.0.0.0:4317')
  assert.equal(tempo.distributor.receivers.otlp.protocols.http.endpoint, '0.0.0.0:4318')
  assert.equal(tempo.metrics_generator.storage.remote_write[0].url, 'http://prometheus:9090/api/v1/write')
  // blocks that Tempo 3 refuses to start with
  for (const block of ['ingester', 'compactor', 'ingester_client']) assert.ok(!(block in tempo), block)
})

test('data sources have fixed uids and link only to each other', async () => {
  const { services } = await examplePlatform()
  assert.deepEqual(
    dataSources.map(({ uid }) => uid),
    ['prometheus', 'loki', 'tempo'],
  )
  for (const { uid, url, jsonData } of dataSources) {
    const service = services.find(({ name }) => name === uid)
    assert.equal(url, `http://${uid}:${service?.ports[0]?.target}`)
    const linked = [...JSON.stringify(jsonData).matchAll(/"datasourceUid":"(.*?)"/g)].map(([, target]) => target)
    assert.ok(linked.length > 0, `${uid} leads somewhere`)
    for (const target of linked)
      assert.ok(
        dataSources.some(source => source.uid === target && target !== uid),
        target,
      )
  }
})

test('Grafana finds no variable of its own in the data sources', () => {
  // it expands $name and ${name}; a dollar sign that is meant is written twice
  const text = contentOf(files, 'config/grafana/datasources/macula.yml').replace(/^\s*#.*$/gm, '')
  assert.deepEqual(text.replaceAll('$$', '').match(/\$.*/g), null)
})

test("Grafana's first page is one of the dashboards", () => {
  const [, file] =
    /HOME_DASHBOARD_PATH: \/etc\/grafana\/provisioning\/(\S+)/.exec(contentOf(files, 'docker-compose.services.yml')) ??
    []
  assert.ok(
    dashboards.some(({ path }) => path === `config/grafana/${file}`),
    file,
  )
})
