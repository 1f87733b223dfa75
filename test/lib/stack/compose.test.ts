import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { composeOptions, renderComposeFiles } from '../../../lib/stack/compose.ts'
import { exampleInstallation } from '../../helpers/example.ts'
import { examplePaths, goodPlatform } from '../../helpers/platform.ts'

const configs = [
  { path: 'config/loki/loki.yml', content: 'a: 1' },
  { path: 'secrets/grafana_password', content: 'one' },
]

describe('the rendered compose file', () => {
  it('can be read by its owner only, and says where changes belong', async () => {
    const [file] = renderComposeFiles(await goodPlatform(), configs, exampleInstallation)
    assert.equal(file?.path, 'docker-compose.yml')
    assert.equal(file?.mode, 0o600)
    assert.match(file?.content ?? '', /^# Rendered from templates\/docker-compose\.yml/)
  })

  it('has settings in place of their names, and no secret', async () => {
    const platform = await goodPlatform({ settings: { MACULA_DOMAIN: 'dev.test', POSTGRES_USER: 'somebody' } })
    const [file] = renderComposeFiles(platform, configs, exampleInstallation)
    assert.match(file?.content ?? '', /POSTGRES_USER: somebody/)
    assert.match(file?.content ?? '', /http:\/\/grafana\.dev\.test\//)
    assert.doesNotMatch(file?.content ?? '', /example-of-/)
  })

  it('marks a service with the hash of what it mounts, so that a change there recreates it and no other', async () => {
    const platform = await goodPlatform()
    const labelsOf = (files: typeof configs) => {
      const { services } = parse(renderComposeFiles(platform, files, exampleInstallation)[0]?.content ?? '')
      return {
        loki: services.loki.labels?.['macula.config'],
        grafana: services.grafana.labels?.['macula.config'],
        minio: services.minio.labels?.['macula.config'],
      }
    }
    const before = labelsOf(configs)
    const after = labelsOf(configs.map(file => (file.path.startsWith('secrets/') ? { ...file, content: 'two' } : file)))
    assert.equal(before.loki, after.loki)
    assert.notEqual(before.grafana, after.grafana)
    assert.equal(before.minio, undefined)
  })

  it('labels all that it creates with the id of the installation, beside labels of the user', async () => {
    const local = `services:
  own: { image: "x:1", labels: [a=b], volumes: ["kept:/k", "theirs:/t"], x-macula: { group: data } }
volumes: { kept: { labels: { c: d } }, theirs: { external: true } }
`
    const files = renderComposeFiles(await goodPlatform({ local }), [], exampleInstallation)
    const [ours, own] = files.map(({ content }) => parse(content))
    const label = { 'io.macula.installation': exampleInstallation.id }
    for (const described of [
      ...Object.values(ours.services),
      ...Object.values(ours.networks),
      ...Object.values(ours.volumes),
    ])
      assert.equal(
        (described as { labels: Record<string, string> }).labels['io.macula.installation'],
        label['io.macula.installation'],
      )
    assert.equal(Object.keys(ours.volumes).length, 10)
    assert.deepEqual(own.services.own.labels, { a: 'b', ...label })
    assert.deepEqual(own.volumes, { kept: { labels: { c: 'd', ...label } }, theirs: { external: true } })
  })

  it('labels no network or volume that was taken over without a label: Compose would create it anew', async () => {
    const owned = { network: ['macula-infra@n1'], volume: ['macula_minio-data@2026-11-20T00:00:00.000Z'] }
    const [file] = renderComposeFiles(await goodPlatform(), [], { ...exampleInstallation, owned })
    const { networks, volumes, services } = parse(file?.content ?? '')
    assert.equal(networks['macula-infra'].labels, undefined)
    assert.equal(volumes['minio-data'], null)
    assert.ok(volumes['grafana-data'].labels)
    assert.ok(services.minio.labels)
  })

  it('publishes further ports beside those of the template', async () => {
    const [file] = renderComposeFiles(await goodPlatform(), [], exampleInstallation, {
      grafana: ['127.0.0.4:3000:3000'],
      nginx: ['127.0.0.4:80:80'],
    })
    const { services } = parse(file?.content ?? '')
    assert.deepEqual(services.grafana.ports, ['127.0.0.4:3000:3000'])
    assert.deepEqual(services.nginx.ports, ['127.0.0.1:80:80', '127.0.0.1:5001:5001', '127.0.0.4:80:80'])
  })
})

describe("a user's own compose file", () => {
  it('goes on meaning the same files from another folder', async () => {
    const local = `services:
  own:
    image: x:1
    build: ./own
    env_file: own.env
    volumes: ["./data:/data:ro", "named:/n", "/abs:/a"]
    x-macula: { group: data }
`
    const platform = await goodPlatform({ local, paths: examplePaths('/home/me/checkout') })
    const [, file] = renderComposeFiles(platform, [], exampleInstallation)
    const { services } = parse(file?.content ?? '')
    assert.equal(file?.path, 'docker-compose.override.yml')
    assert.deepEqual(services.own.volumes, ['/home/me/checkout/data:/data:ro', 'named:/n', '/abs:/a'])
    assert.equal(services.own.build, '/home/me/checkout/own')
    assert.deepEqual(services.own.env_file, ['/home/me/checkout/own.env'])
    assert.equal(composeOptions(platform).env.COMPOSE_FILE, 'docker-compose.yml:docker-compose.override.yml')
  })

  it('lets the collector read the lines of a new service, unless it has a logging of its own', async () => {
    const local = `services:
  own: { image: "x:1", x-macula: { group: data } }
  quiet: { image: "x:1", logging: { driver: none }, x-macula: { group: data } }
  grafana: { mem_limit: 1g }
`
    const [ours, file] = renderComposeFiles(await goodPlatform({ local }), [], exampleInstallation)
    const { services } = parse(file?.content ?? '')
    assert.deepEqual(services.own.logging, parse(ours?.content ?? '').services.grafana.logging)
    assert.equal(services.own.logging.options.labels, 'com.docker.compose.service')
    assert.deepEqual(services.quiet.logging, { driver: 'none' })
    assert.equal(services.grafana.logging, undefined)
  })
})
