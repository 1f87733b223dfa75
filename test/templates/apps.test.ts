import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { applicationObjects, leftovers, withImages } from '../../lib/cluster/apps.ts'
import { applicationNames } from '../../lib/cluster/cluster.ts'
import { imagesIn, ingressImage, ingressObjects } from '../../lib/cluster/ingress.ts'
import { identityOf, type KubeObject } from '../../lib/cluster/kubectl.ts'
import { applicationTargets } from '../../lib/cluster/scrape.ts'
import type { Settings } from '../../lib/platform/settings.ts'
import { hasTool } from '../../lib/system/exec.ts'
import { examplePaths, goodPlatform } from '../helpers/platform.ts'

const skip = (await hasTool('kubectl')) ? false : 'kubectl is not installed'
const digest = (letter: string) => `sha256:${letter.repeat(64)}`

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'macula-apps-'))
})
after(() => rm(folder, { recursive: true, force: true }))

const platformWith = (settings: Partial<Settings> = {}) => goodPlatform({ settings, paths: examplePaths(folder) })
const ofKind = (objects: readonly KubeObject[], kind: string) => objects.filter(object => object.kind === kind)
const hostsOf = (objects: readonly KubeObject[]) =>
  ofKind(objects, 'Ingress').flatMap(({ spec }) =>
    (spec as { rules: { host: string }[] }).rules.map(({ host }) => host),
  )

describe('the applications', { skip }, () => {
  const build = async (settings: Partial<Settings> = {}) => {
    const platform = await platformWith(settings)
    const images = applicationNames(platform).map((application, index) => ({
      application,
      repository: `localhost:5001/macula/${application}`,
      tag: 'tag',
      digest: digest(String(index)),
    }))
    return withImages(await applicationObjects(platform), images)
  }

  it('leave over what the catalogue does not name any more, and nothing that is not of the platform', async () => {
    const live = await build()
    const platform = await platformWith()
    const names = platform.applications.names.filter(name => !name.startsWith('peer2.'))
    const wanted = await applicationObjects({ ...platform, applications: { ...platform.applications, names } })
    const foreign = { ...(live.find(({ kind }) => kind === 'Deployment') as KubeObject), metadata: { name: 'own' } }
    assert.deepEqual(
      leftovers(wanted, [...live, foreign])
        .map(identityOf)
        .sort(),
      ['Deployment macula/peer2', 'Ingress macula/peer2', 'Service macula/peer2'],
    )
    assert.deepEqual(leftovers(live, live), [])
  })

  it('are scraped by Prometheus at their own names', async () => {
    const targets = applicationTargets(await build({ MACULA_DOMAIN: 'dev.test' }), 'dev.test')
    assert.deepEqual(
      targets.find(({ labels }) => labels.job === 'console'),
      {
        targets: ['console.dev.test:80'],
        labels: { job: 'console', group: 'applications', __metrics_path__: '/metrics' },
      },
    )
    assert.equal(targets.length, 4)
    const silent = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'own' }, spec: { template: {} } }
    assert.deepEqual(applicationTargets([silent], 'dev.test'), [])
  })

  it('have a Deployment, a Service and an Ingress each, for every name of the catalogue', async () => {
    const objects = await build()
    const names = ['bootstrap', 'console', 'peer1', 'peer2']
    assert.deepEqual(
      ofKind(objects, 'Deployment')
        .map(({ metadata }) => metadata.name)
        .sort(),
      names,
    )
    assert.deepEqual(
      hostsOf(objects).sort(),
      names.map(name => `${name}.macula.local`),
    )
    for (const name of names)
      assert.ok(
        ofKind(objects, 'Service').some(({ metadata }) => metadata.name === name),
        name,
      )
    assert.ok(objects.every(({ kind, metadata }) => kind === 'Namespace' || metadata.namespace === 'macula'))
  })

  it('are built once for as long as overlay and templates stay as they are', async () => {
    await build()
    const file = join(examplePaths(folder).stateDir, 'cluster', 'apps', 'built.json')
    const built = JSON.parse(await readFile(file, 'utf8'))
    await writeFile(file, JSON.stringify({ ...built, objects: [] }))
    assert.deepEqual(await build(), [])
    assert.ok((await build({ MACULA_DOMAIN: 'dev.test' })).length > 0)
    assert.ok((await build()).length > 0)
  })

  it('run the image that was pushed, by its digest', async () => {
    assert.deepEqual(imagesIn(ofKind(await build(), 'Deployment')).sort(), [
      `localhost:5001/macula/bootstrap@${digest('1')}`,
      `localhost:5001/macula/console@${digest('0')}`,
      `localhost:5001/macula/peer1@${digest('2')}`,
      `localhost:5001/macula/peer2@${digest('3')}`,
    ])
  })

  it("follow the settings' domain", async () => {
    const objects = await build({ MACULA_DOMAIN: 'dev.test' })
    assert.ok(hostsOf(objects).every(host => host.endsWith('.dev.test')))
    const [config] = ofKind(objects, 'ConfigMap')
    assert.equal(
      (config as unknown as { data: Record<string, string> }).data.OTEL_EXPORTER_OTLP_ENDPOINT,
      'http://tempo.dev.test:4318',
    )
    assert.ok(!JSON.stringify(objects).includes('macula.local'))
  })

  it('listen for peers on the node port that the cluster maps', async () => {
    const mesh = ofKind(await build(), 'Service').find(({ metadata }) => metadata.name === 'peer1-mesh')
    assert.deepEqual((mesh as unknown as { spec: { ports: object[] } }).spec.ports, [
      { name: 'mesh', nodePort: 30443, port: 4433, protocol: 'UDP', targetPort: 'mesh' },
    ])
  })
})

describe('the ingress controllers', { skip }, () => {
  for (const controller of ['nginx', 'traefik']) {
    it(`${controller} is pinned by digest and takes the ports of the node that has them mapped`, async () => {
      const objects = await ingressObjects(await platformWith({ INGRESS_CONTROLLER: controller }))
      const [deployment] = ofKind(objects, 'Deployment')
      assert.match(imagesIn(objects)[0] ?? '', /:v\d+\.\d+\.\d+@sha256:[0-9a-f]{64}$/)
      const { spec } = (deployment as unknown as { spec: { template: { spec: Record<string, unknown> } } }).spec
        .template
      assert.deepEqual(spec.nodeSelector, { 'ingress-ready': 'true' })
      const [container] = spec.containers as { ports: { hostPort: number }[] }[]
      assert.deepEqual(
        container?.ports.map(({ hostPort }) => hostPort),
        [80, 443],
      )
      const [ingressClass] = ofKind(objects, 'IngressClass')
      assert.equal(ingressClass?.metadata.name, 'nginx')
      assert.deepEqual(ingressClass?.spec, { controller: 'k8s.io/ingress-nginx' })
    })
  }

  it('take an image of the user in the place of the pinned one', async () => {
    const images = async (settings: Partial<Settings>) => {
      const platform = await platformWith(settings)
      const applied = imagesIn(await ingressObjects(platform))
      assert.deepEqual([await ingressImage(platform)], applied)
      return applied
    }
    assert.deepEqual(await images({ INGRESS_CONTROLLER: 'traefik', INGRESS_IMAGE: 'traefik:v3.6.12' }), [
      'traefik:v3.6.12',
    ])
    const [mirrored = ''] = await images({ INGRESS_CONTROLLER: 'traefik', IMAGE_MIRROR: 'mirror.test/hub' })
    assert.match(mirrored, /^mirror\.test\/hub\/library\/traefik:v3.*@sha256:/)
  })

  it("have a health page under the settings' domain", async () => {
    const objects = await ingressObjects(await platformWith({ MACULA_DOMAIN: 'dev.test' }))
    assert.deepEqual(hostsOf(objects), ['ingress.dev.test'])
  })
})
