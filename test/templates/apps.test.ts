import assert from 'node:assert/strict'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { applicationsOverlay, leftovers } from '../../lib/cluster/apps.ts'
import { applicationNames, clusterFolder } from '../../lib/cluster/cluster.ts'
import { ingressImage, ingressOverlay } from '../../lib/cluster/ingress.ts'
import { identityOf, type KubeObject } from '../../lib/cluster/kubectl.ts'
import { type Overlay, withCertificate, writeOverlay } from '../../lib/cluster/kustomize.ts'
import type { ClusterNode } from '../../lib/cluster/nodes.ts'
import { applicationDigests, applicationTargets } from '../../lib/cluster/scrape.ts'
import type { Platform } from '../../lib/platform/platform.ts'
import type { Settings } from '../../lib/platform/settings.ts'
import { $, hasTool } from '../../lib/system/exec.ts'
import { examplePaths, goodPlatform } from '../helpers/platform.ts'

const skip = (await hasTool('kubectl')) ? false : 'kubectl is not installed'
const digest = (letter: string) => `sha256:${letter.repeat(64)}`

let folder = ''
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'macula-apps-'))
})
after(() => rm(folder, { recursive: true, force: true }))

const platformWith = (settings: Partial<Settings> = {}) => goodPlatform({ settings, paths: examplePaths(folder) })
/** What kustomize makes of an overlay, as `kubectl apply -k` would apply it. */
async function builtBy(platform: Platform, overlay: Overlay): Promise<KubeObject[]> {
  await writeOverlay(platform, overlay)
  const text = await $`kubectl kustomize ${join(clusterFolder(platform), overlay.name)}`.text()
  return parseAllDocuments(text).map(document => document.toJS() as KubeObject)
}
const node = {
  networks: { kind: { address: '172.18.0.2' }, 'macula-infra': { address: '172.23.0.100' } },
} as unknown as ClusterNode
const ingressObjects = async (platform: Platform) => builtBy(platform, await ingressOverlay(platform, [node]))
const imagesIn = (objects: readonly KubeObject[]) =>
  ofKind(objects, 'Deployment').map(
    ({ spec }) =>
      (spec as { template: { spec: { containers: { image: string }[] } } }).template.spec.containers[0]?.image ?? '',
  )
const ofKind = (objects: readonly KubeObject[], kind: string) => objects.filter(object => object.kind === kind)
const hostsOf = (objects: readonly KubeObject[]) =>
  ofKind(objects, 'Ingress').flatMap(({ spec }) =>
    (spec as { rules: { host: string }[] }).rules.map(({ host }) => host),
  )

describe('the applications', { skip }, () => {
  const objectsOf = async (platform: Platform, { namespace = true } = {}) => {
    const images = applicationNames(platform).map((application, index) => ({
      application,
      repository: `localhost:5001/macula/${application}`,
      tag: 'tag',
      digest: digest(String(index)),
    }))
    return builtBy(platform, await applicationsOverlay(platform, images, { namespace }))
  }
  const build = async (settings: Partial<Settings> = {}) => objectsOf(await platformWith(settings))
  const named = async (...applications: string[]) => {
    const platform = await platformWith()
    const names = applications.map(name => `${name}.${platform.domain}`)
    return { ...platform, applications: { ...platform.applications, names } }
  }

  it('leave over what the catalogue does not name any more, and nothing that is not of the platform', async () => {
    const live = await build()
    const wanted = await objectsOf(await named('console', 'bootstrap', 'peer1'))
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
        labels: {
          job: 'console',
          group: 'applications',
          __metrics_path__: '/metrics',
          __scrape_interval__: '2s',
          __scrape_timeout__: '2s',
        },
      },
    )
    assert.equal(targets.length, 4)
    const silent = { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'own' }, spec: { template: {} } }
    assert.deepEqual(applicationTargets([silent], 'dev.test'), [])
  })

  it('are known to the portal by the digests of their images', () => {
    const deployment = (name: string, image: string) => ({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name },
      spec: { template: { spec: { containers: [{ image }] } } },
    })
    const service = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'console' } }
    assert.deepEqual(
      applicationDigests([service, deployment('console', 'localhost:5001/macula/console@sha256:1234')]),
      { console: 'sha256:1234' },
    )
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

  it('of the user have the manifests of the others, without what is known of our own programs only', async () => {
    const objects = await objectsOf(await named('console', 'shop'))
    const shop = objects.filter(({ metadata }) => metadata.name === 'shop')
    assert.deepEqual(shop.map(({ kind }) => kind).sort(), ['Deployment', 'Ingress', 'Service'])
    const { template } = ofKind(shop, 'Deployment').map(({ spec }) => spec)[0] as {
      template: {
        metadata: { annotations?: object; labels: Record<string, string> }
        spec: { containers: Container[] }
      }
    }
    interface Container {
      image: string
      env: { name: string; value: string }[]
      envFrom: { configMapRef: { name: string } }[]
      readinessProbe: object
      livenessProbe: object
      securityContext: { runAsNonRoot: boolean }
    }
    const [container] = template.spec.containers
    assert.equal(container?.image, `localhost:5001/macula/shop@${digest('1')}`)
    assert.deepEqual(container?.readinessProbe, { tcpSocket: { port: 'http' }, periodSeconds: 1 })
    assert.deepEqual(container?.livenessProbe, { tcpSocket: { port: 'http' }, periodSeconds: 10 })
    assert.equal(container?.env.find(({ name }) => name === 'PORT')?.value, '8080')
    assert.equal(container?.securityContext.runAsNonRoot, true)
    assert.equal(template.metadata.annotations, undefined)
    assert.equal(template.metadata.labels['app.kubernetes.io/part-of'], 'macula')
    const [config] = ofKind(objects, 'ConfigMap')
    assert.equal(container?.envFrom[0]?.configMapRef.name, config?.metadata.name)
    assert.deepEqual(hostsOf(shop), ['shop.macula.local'])
    assert.deepEqual(
      applicationTargets(objects, 'macula.local').map(({ labels }) => labels.job),
      ['console'],
    )
  })

  it('of the user may be called as the folders beside those of our own', async () => {
    const objects = await objectsOf(await named('common', 'namespace'))
    assert.deepEqual(hostsOf(objects).sort(), ['common.macula.local', 'namespace.macula.local'])
  })

  it('of the user alone are a good kustomization, too', async () => {
    const objects = await objectsOf(await named('shop'))
    assert.ok(objects.some(({ kind, metadata }) => kind === 'Ingress' && metadata.name === 'shop'))
  })

  it('leave a namespace that exists to whoever created it', async () => {
    assert.deepEqual(ofKind(await objectsOf(await platformWith(), { namespace: false }), 'Namespace'), [])
    assert.equal(ofKind(await build(), 'Namespace').length, 1)
  })

  it('have the certificate as a secret, in files that only their owner can read', async () => {
    const platform = await platformWith()
    const certificate = { certificate: 'CERT', key: 'KEY', caFile: '', mkcert: false }
    const overlay = withCertificate(await applicationsOverlay(platform, [], { namespace: true }), 'macula', certificate)
    const [secret] = ofKind(await builtBy(platform, overlay), 'Secret')
    assert.deepEqual([secret?.metadata.name, secret?.metadata.namespace], ['macula-tls', 'macula'])
    assert.deepEqual(secret?.data, { 'tls.crt': btoa('CERT'), 'tls.key': btoa('KEY') })
    const file = join(clusterFolder(platform), overlay.name, 'tls.yaml')
    assert.equal((await stat(file)).mode & 0o777, 0o600)
  })

  it('can be applied with kubectl alone, too', async () => {
    const bare = parseAllDocuments(await $`kubectl kustomize templates/apps`.text()).map(
      document => document.toJS() as KubeObject,
    )
    assert.deepEqual(bare.map(identityOf).sort(), (await build()).map(identityOf).sort())
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
    it(`${controller} is pinned by digest and serves the ports of the node that has them mapped, without a hostPort that two pods could not share`, async () => {
      const objects = await ingressObjects(await platformWith({ INGRESS_CONTROLLER: controller }))
      const [deployment] = ofKind(objects, 'Deployment')
      assert.match(imagesIn(objects)[0] ?? '', /:v\d+\.\d+\.\d+@sha256:[0-9a-f]{64}$/)
      const { spec } = (deployment as unknown as { spec: { template: { spec: Record<string, unknown> } } }).spec
        .template
      assert.deepEqual(spec.nodeSelector, { 'ingress-ready': 'true' })
      assert.ok(!JSON.stringify(spec).includes('hostPort'))
      const services = ofKind(objects, 'Service').filter(({ metadata }) => metadata.name === 'ingress-controller')
      const found = services.map(({ spec }) => spec as { externalIPs: string[]; ports: { port: number }[] })
      assert.deepEqual(
        found.map(({ externalIPs, ports }) => [externalIPs, ports.map(({ port }) => port)]),
        [
          [
            ['172.18.0.2', '172.23.0.100'],
            [80, 443],
          ],
        ],
      )
      const [ingressClass] = ofKind(objects, 'IngressClass')
      assert.equal(ingressClass?.metadata.name, 'nginx')
      assert.deepEqual(ingressClass?.spec, { controller: 'k8s.io/ingress-nginx' })
    })
  }

  it('are not sent requests before Traefik can have its first routes', async () => {
    const [traefik] = ofKind(await ingressObjects(await platformWith({ INGRESS_CONTROLLER: 'traefik' })), 'Deployment')
    const { template } = (traefik as KubeObject).spec as {
      template: { spec: { containers: Record<string, object>[] } }
    }
    assert.deepEqual(template.spec.containers[0]?.readinessProbe, {
      httpGet: { path: '/ping', port: 9000 },
      initialDelaySeconds: 4,
      periodSeconds: 1,
    })
  })

  it('give the ports of the node back as soon as the last request is answered', async () => {
    const objects = await ingressObjects(await platformWith({ INGRESS_CONTROLLER: 'nginx' }))
    const args = ofKind(objects, 'Deployment').flatMap(
      ({ spec }) =>
        (spec as { template: { spec: { containers: { args: string[] }[] } } }).template.spec.containers[0]?.args,
    )
    assert.ok(args.includes('--post-shutdown-grace-period=0'))
  })

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
    const traefik = await ingressObjects(
      await platformWith({ MACULA_DOMAIN: 'dev.test', INGRESS_CONTROLLER: 'traefik' }),
    )
    assert.ok(!JSON.stringify(traefik).includes('ingress.macula.local'))
  })
})
