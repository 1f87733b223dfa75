import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import type { ComposeFile, ComposeService } from '../../lib/platform/compose-file.ts'
import { contentOf, describeExample, examplePlatform, renderExample, writtenTo } from '../helpers/example.ts'
import { run } from '../helpers/run.ts'
import { builtValidator } from '../helpers/validators.ts'

const files = await renderExample()
const { stateDir } = (await examplePlatform()).paths
const compose = parse(contentOf(files, 'docker-compose.services.yml')) as ComposeFile &
  Record<string, Record<string, unknown>>
interface RenderedService extends ComposeService {
  restart: string
  logging: { options: Record<string, string> }
  healthcheck: { test: string[]; start_interval: string; start_period: string }
}
const services = Object.entries((compose.services ?? {}) as Record<string, RenderedService>)
const engine = await builtValidator('engine', 'usr/libexec/docker/cli-plugins/docker-compose')

test('nothing is wrong with our own description', async () => {
  assert.deepEqual((await describeExample()).problems, [])
})

test('every service of the plan stands at its address', () => {
  const addresses = services.map(([name, { networks }]) => [
    name,
    (networks as Record<string, { ipv4_address?: string }>)['macula-infra']?.ipv4_address,
  ])
  assert.deepEqual(Object.fromEntries(addresses), {
    nginx: '172.23.0.2',
    registry: '172.23.0.5',
    'registry-ui': '172.23.0.6',
    powerdns: '172.23.0.10',
    'powerdns-db': '172.23.0.11',
    'powerdns-admin': '172.23.0.12',
    prometheus: '172.23.0.20',
    grafana: '172.23.0.21',
    loki: '172.23.0.22',
    tempo: '172.23.0.23',
    collector: '172.23.0.24',
    'timescaledb-metrics': '172.23.0.25',
    'powerdns-db-metrics': '172.23.0.26',
    'machine-metrics': '172.23.0.27',
    // on the machine's network
    'dnsmasq-metrics': undefined,
    timescaledb: '172.23.0.31',
    minio: '172.23.0.30',
  })
})

for (const [name, service] of services) {
  test(`${name} has a pinned image, a name, a restart policy, a bounded log and a quick healthcheck`, () => {
    assert.match(service.image ?? '', /:[^:/]*\d[^:/]*$/)
    assert.doesNotMatch(service.image ?? '', /:latest/)
    assert.equal(service.container_name, `macula-${name}`)
    assert.equal(service.restart, 'unless-stopped')
    assert.ok(service.logging.options['max-size'])
    const { healthcheck } = service
    // its image has nothing that could ask
    if (name === 'collector') return assert.equal(healthcheck, undefined)
    assert.ok(Array.isArray(healthcheck.test))
    assert.equal(healthcheck.start_interval, '1s')
    // Docker uses start_interval only within start_period
    assert.ok(healthcheck.start_period)
  })

  test(`${name} mounts only what is rendered, declared or its own`, () => {
    const rendered = files.map(({ path }) => path)
    for (const volume of service.volumes ?? []) {
      if (typeof volume !== 'string') {
        const { source = '', type, bind } = volume as { source?: string; type?: string; bind?: unknown }
        assert.ok(
          rendered.some(path => join(stateDir, path, '/').startsWith(`${source}/`)),
          `${source} is rendered`,
        )
        assert.deepEqual({ type, bind }, { type: 'bind', bind: { create_host_path: false } })
        continue
      }
      const [source = ''] = volume.split(':')
      if (source.startsWith('/'))
        assert.match(volume, /^(\/var\/lib\/docker\/(containers|volumes)|\/sys\/fs\/cgroup):.*:ro$/)
      else assert.ok(source in (compose.volumes ?? {}), `volume ${source} is declared`)
    }
    for (const secret of service.secrets ?? []) {
      const source = typeof secret === 'string' ? secret : secret.source
      assert.ok(rendered.includes(`secrets/${source}`), `${source} is rendered`)
      assert.equal(compose.secrets?.[source]?.file, join(stateDir, 'secrets', source))
    }
  })
}

test('every rendered secret is used', () => {
  const used = services.flatMap(([, { secrets = [] }]) =>
    secrets.map(secret => (typeof secret === 'string' ? secret : secret.source)),
  )
  const rendered = files
    .filter(({ path }) => path.startsWith('secrets/'))
    .map(({ path }) => path.slice('secrets/'.length))
  assert.deepEqual(
    rendered.filter(name => !used.includes(name)),
    [],
  )
})

test('ports are published on 127.0.0.1 only', () => {
  const published = services.flatMap(([, { ports = [] }]) => ports.map(String))
  assert.deepEqual(published, [
    '127.0.0.1:80:80',
    '127.0.0.1:5001:5001',
    '127.0.0.1:5300:53/tcp',
    '127.0.0.1:5300:53/udp',
  ])
})

test('docker compose takes the rendered file', { skip: engine.skip }, async () => {
  const { folder, remove } = await writtenTo(files)
  try {
    await run([engine.program, '-f', 'docker-compose.yml', 'config', '--quiet'], { cwd: folder })
  } finally {
    await remove()
  }
})
