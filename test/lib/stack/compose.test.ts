import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import type { Installation } from '../../../lib/platform/installation.ts'
import type { Platform } from '../../../lib/platform/platform.ts'
import { composeOptions } from '../../../lib/stack/compose.ts'
import { renderComposeFiles } from '../../../lib/stack/compose-render.ts'
import { exampleInstallation } from '../../helpers/example.ts'
import { examplePaths, examplePlatform, goodPlatform } from '../../helpers/platform.ts'

const configs = [
  { path: 'config/loki/loki.yml', content: 'a: 1' },
  { path: 'secrets/grafana_password', content: 'one' },
]

interface RenderOptions {
  files?: typeof configs
  installation?: Installation
  extraPorts?: Record<string, string[]>
}

/** The rendered files, and two of them parsed: our services, and what we add to all services. */
function rendered(platform: Platform, options: RenderOptions = {}) {
  const { files = [], installation = exampleInstallation, extraPorts = {} } = options
  const all = renderComposeFiles(platform, files, installation, extraPorts)
  const text = (name: string) => all.find(({ path }) => path === name)?.content ?? ''
  return {
    all,
    text,
    project: parse(text('docker-compose.yml')),
    ours: parse(text('docker-compose.services.yml')),
    additions: parse(text('docker-compose.additions.yml')),
  }
}

describe('the rendered compose files', () => {
  it('can be read by their owner only, and say where changes belong', async () => {
    const { all, text } = rendered(await goodPlatform(), { files: configs })
    assert.deepEqual(
      all.map(({ path }) => path),
      ['docker-compose.yml', 'docker-compose.services.yml', 'docker-compose.additions.yml', 'docker-compose.env'],
    )
    for (const { mode } of all) assert.equal(mode, 0o600)
    assert.match(text('docker-compose.services.yml'), /^# Rendered from templates\/docker-compose\.yml/)
  })

  it('have settings in place of their names, and no secret', async () => {
    const platform = await goodPlatform({ settings: { MACULA_DOMAIN: 'dev.test', POSTGRES_USER: 'somebody' } })
    const { all, text } = rendered(platform, { files: configs })
    assert.match(text('docker-compose.services.yml'), /POSTGRES_USER: somebody/)
    assert.match(text('docker-compose.services.yml'), /http:\/\/grafana\.dev\.test\//)
    for (const { content } of all) assert.doesNotMatch(content, /example-of-/)
  })

  it('mark a service with the hash of what it mounts, so that a change there recreates it and no other', async () => {
    const platform = await goodPlatform()
    const labelsOf = (files: typeof configs) => {
      const { services } = rendered(platform, { files }).additions
      return {
        loki: services.loki.labels?.['macula.config'],
        grafana: services.grafana.labels?.['macula.config'],
        minio: services.minio.labels?.['macula.config'],
      }
    }
    const before = labelsOf(configs)
    const after = labelsOf(configs.map(file => (file.path.startsWith('secrets/') ? { ...file, content: 'two' } : file)))
    assert.ok(before.loki)
    assert.equal(before.loki, after.loki)
    assert.notEqual(before.grafana, after.grafana)
    assert.equal(before.minio, undefined)
  })

  it("mark a user's service with the hash of what it mounts of ours", async () => {
    const local =
      'services: { own: { image: "x:1", secrets: [grafana_password], volumes: ["./state/config/loki:/l:ro"] } }\n'
    const paths = { ...examplePaths('/home/me'), stateDir: '/home/me/state' }
    const hashOf = async (files: typeof configs) =>
      rendered(await goodPlatform({ local, paths }), { files }).additions.services.own.labels['macula.config']
    const hashes = [configs, configs.slice(0, 1), configs.slice(1)].map(hashOf)
    assert.equal(new Set(await Promise.all(hashes)).size, 3)
  })

  it('label all that Compose creates with the id of the installation, and nothing of somebody else', async () => {
    const local = `services:
  own: { image: "x:1", labels: [a=b], volumes: ["kept:/k", "theirs:/t"], x-macula: { group: data } }
volumes: { kept: { labels: { c: d } }, theirs: { external: true } }
networks: { outer: { external: true } }
`
    const { ours, additions } = rendered(await goodPlatform({ local }))
    const label = { 'io.macula.installation': exampleInstallation.id }
    for (const section of ['services', 'networks', 'volumes'])
      for (const name of Object.keys(ours[section])) assert.deepEqual(additions[section][name].labels, label)
    assert.equal(Object.keys(ours.volumes).length, 11)
    // Compose adds labels to those of the user's file
    assert.deepEqual(additions.services.own.labels, label)
    assert.deepEqual(additions.volumes.kept, { labels: label })
    assert.equal(additions.volumes.theirs, undefined)
    assert.equal(additions.networks.outer, undefined)
  })

  it('label no network or volume that was taken over without a label: Compose would create it anew', async () => {
    const owned = { network: ['macula-infra@n1'], volume: ['macula_minio-data@2026-11-20T00:00:00.000Z'] }
    const { additions, ours } = rendered(await goodPlatform(), { installation: { ...exampleInstallation, owned } })
    assert.equal(additions.networks['macula-infra'], undefined)
    assert.equal(ours.networks['macula-infra'].labels, undefined)
    assert.equal(additions.volumes['minio-data'], undefined)
    assert.equal(ours.volumes['minio-data'], null)
    assert.ok(additions.volumes['grafana-data'].labels)
    assert.ok(additions.services.minio.labels)
  })

  it('name an image from a file as the engine does, of which Compose would pull the pinned one', async () => {
    const name = `nginx:sha256-${'0'.repeat(64)}`
    const files = renderComposeFiles(await goodPlatform(), [], exampleInstallation, {}, new Map([['nginx', name]]))
    const { services } = parse(files.find(({ path }) => path === 'docker-compose.additions.yml')?.content ?? '')
    assert.equal(services.nginx.image, name)
    assert.equal(services.registry.image, undefined)
  })

  it('publish further ports beside those of the template', async () => {
    const extraPorts = { grafana: ['127.0.0.4:3000:3000'], nginx: ['127.0.0.4:80:80'] }
    const { ours, additions } = rendered(await goodPlatform(), { extraPorts })
    assert.deepEqual(additions.services.grafana.ports, ['127.0.0.4:3000:3000'])
    // Compose adds those of the later file
    assert.deepEqual(ours.services.nginx.ports, ['127.0.0.1:80:80', '127.0.0.1:5001:5001'])
    assert.deepEqual(additions.services.nginx.ports, ['127.0.0.4:80:80'])
  })
})

describe("a user's own compose file", () => {
  it('reaches Compose as it stands, between our services and what we add, with its own folder', async () => {
    const local = 'services: { own: { image: "x:1", build: ./own } }\n'
    const platform = await goodPlatform({ local, paths: examplePaths('/home/me/checkout') })
    const { project, ours, additions } = rendered(platform)
    assert.deepEqual(project, {
      name: 'macula',
      include: [
        {
          path: [
            'docker-compose.services.yml',
            '/home/me/checkout/docker-compose.local.yml',
            'docker-compose.additions.yml',
          ],
          project_directory: '/home/me/checkout',
          env_file: 'docker-compose.env',
        },
      ],
    })
    assert.equal(composeOptions(platform).env.COMPOSE_FILE, 'docker-compose.yml')
    assert.equal(ours.services.own, undefined)
    assert.deepEqual(Object.keys(additions.services.own).sort(), ['container_name', 'labels', 'logging', 'networks'])
    const paths = rendered(await goodPlatform()).project.include[0].path
    assert.deepEqual(paths, ['docker-compose.services.yml', 'docker-compose.additions.yml'])
  })

  it('gets the settings as variables, but for the secrets, and what it takes from the environment', async () => {
    const { platform, problems } = await examplePlatform({
      local: 'services: { own: { image: "x:$TAG" } }\n',
      environment: { TAG: '1.0 "new"', OTHER: 'x' },
    })
    assert.deepEqual(problems, [])
    const variables = rendered(platform).text('docker-compose.env')
    assert.match(variables, /^MACULA_DOMAIN=macula\.local$/m)
    assert.match(variables, /^TAG="1\.0 \\"new\\""$/m)
    assert.doesNotMatch(variables, /OTHER|PASSWORD|SECRET|SALT|API_KEY/)
  })

  it('lets the collector read the lines of a new service, unless it has a logging of its own', async () => {
    const local = `services:
  own: { image: "x:1", x-macula: { group: data } }
  quiet: { image: "x:1", logging: { driver: none }, x-macula: { group: data } }
  grafana: { mem_limit: 1g }
`
    const { ours, additions } = rendered(await goodPlatform({ local }))
    assert.deepEqual(additions.services.own.logging, ours.services.grafana.logging)
    assert.equal(additions.services.own.logging.options.labels, 'com.docker.compose.service')
    assert.equal(additions.services.quiet.logging, undefined)
    assert.equal(additions.services.grafana.logging, undefined)
  })
})
