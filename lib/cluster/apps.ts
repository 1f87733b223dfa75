import { join } from 'node:path'
import type { Platform } from '../platform/platform.ts'
import { fillTemplate, readTemplate } from '../platform/render.ts'
import { defaultSettings } from '../platform/settings.ts'
import { root } from '../system/checkout.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { exists } from '../system/files.ts'
import { acceptsConnections } from '../system/tcp.ts'
import { waitFor } from '../system/wait.ts'
import { requireOk } from './answer.ts'
import type { BuiltImage } from './application-images.ts'
import { applicationNames, applicationsNamespace, clusterOf } from './cluster.ts'
import { getObjects, identityOf, type KubeObject } from './kubectl.ts'
import type { Overlay } from './kustomize.ts'
import { waitForRollout } from './rollout.ts'

/** Where every application's image is in the manifests of templates/apps. */
const templateRepository = 'localhost:5001/macula'
const partOf = 'app.kubernetes.io/part-of'
/** Behind a ready pod the ingress needs less than a second to hear of it. */
const probeTimeoutMs = 30_000

/**
 * The applications that the catalogue names, as a kustomization: with the images that were pushed, by digest, because a tag may name another image
 * by the time a pod starts. The namespace is left out where there is one: on an existing cluster it may be somebody else's to change.
 */
export async function applicationsOverlay(
  platform: Platform,
  images: readonly BuiltImage[],
  { namespace }: { namespace: boolean },
): Promise<Overlay> {
  const names = applicationNames(platform)
  const { MACULA_DOMAIN } = await defaultSettings()
  const isBundled = await Promise.all(names.map(name => exists(join(root, 'templates', 'apps', name))))
  const bundled = names.filter((_, index) => isBundled[index])
  const own = names.filter((_, index) => !isBundled[index])
  const template = await readTemplate('apps/own-application.yaml')
  const hostOf = (name: string) => `${name}.${platform.domain}`
  return {
    name: 'apps',
    firstResources: namespace ? ['apps/_namespace'] : [],
    resources: bundled.map(name => `apps/${name}`),
    components: ['apps/_common'],
    manifests: Object.fromEntries(
      own.map(name => [`${name}.yaml`, fillTemplate(template, { name, host: hostOf(name) }, 'own-application.yaml')]),
    ),
    images: images.map(({ application, repository, digest }) => ({
      name: `${templateRepository}/${application}`,
      newName: repository,
      digest,
    })),
    literals: {
      MACULA_DOMAIN: platform.domain,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://tempo.${platform.domain}:4318`,
      // Tempo takes traces and nothing else; metrics are scraped, and logs are what a pod prints
      OTEL_METRICS_EXPORTER: 'none',
      OTEL_LOGS_EXPORTER: 'none',
      S3_ENDPOINT: `http://s3.${platform.domain}:9000`,
      POSTGRES_HOST: `postgres.${platform.domain}`,
    },
    hosts: platform.domain === MACULA_DOMAIN ? {} : Object.fromEntries(bundled.map(name => [name, hostOf(name)])),
    patches: own.map(name => ({ target: { kind: 'Deployment', name }, operations: asAnyProgram })),
  }
}

// Of a program that we do not know it is known only that it listens: it need not have pages for health and metrics, as our own have.
const listens = { tcpSocket: { port: 'http' } }
const asAnyProgram = [
  { op: 'remove', path: '/spec/template/metadata/annotations' },
  { op: 'replace', path: '/spec/template/spec/containers/0/readinessProbe', value: { ...listens, periodSeconds: 1 } },
  { op: 'replace', path: '/spec/template/spec/containers/0/livenessProbe', value: { ...listens, periodSeconds: 10 } },
]

/** What the cluster has. */
export interface Live {
  /** In the applications' namespace, of the kinds that applications consist of. */
  objects: KubeObject[]
  /** All namespaces of a cluster of our own; of another one, whose owner need not let us list them, none. */
  namespaces: KubeObject[]
}

/** Looks at what the cluster has of the applications. */
export async function liveObjects(platform: Platform): Promise<Live> {
  const cluster = clusterOf(platform)
  const kinds = ['deployments', 'services', 'ingresses', 'configmaps', 'secrets']
  if (cluster.kind === 'kind') kinds.push('namespaces')
  const found = await getObjects(cluster, [kinds.join(), '--namespace', applicationsNamespace])
  const isNamespace = ({ kind }: KubeObject) => kind === 'Namespace'
  return { objects: found.filter(object => !isNamespace(object)), namespaces: found.filter(isNamespace) }
}

/** Waits until these deployments run their newest version only. */
export async function waitForApplications(
  platform: Platform,
  deployments: readonly string[],
  report: (waiting: readonly string[]) => void,
): Promise<void> {
  if (deployments.length > 0) await waitForRollout(clusterOf(platform), applicationsNamespace, deployments, report)
}

/** What earlier deployments left that the objects do not have any more: `Deployment macula/shop`. */
export function leftovers(objects: readonly KubeObject[], live: readonly KubeObject[]): KubeObject[] {
  const wanted = new Set(objects.map(identityOf))
  // generated ConfigMaps of earlier versions stay: an earlier version of a Deployment that somebody goes back to needs them
  return live.filter(
    object =>
      ['Deployment', 'Service', 'Ingress'].includes(object.kind) &&
      object.metadata.labels?.[partOf] === 'macula' &&
      !wanted.has(identityOf(object)),
  )
}

/** Sends requests to every application at its own URL, over HTTP and, with a CA, over HTTPS. Throws, naming each that does not answer. */
export async function probeApplications(platform: Platform, ca: string): Promise<string[]> {
  const addresses = platform.applications.names.flatMap(host => [
    { url: `http://${host}/` },
    { url: `https://${host}/`, ca },
  ])
  const results = await Promise.allSettled(
    addresses.map(address =>
      waitFor(signal => requireOk(address, { signal }), {
        timeoutMs: probeTimeoutMs,
        pauseMs: 100,
        onTimeout: last => new PlatformError(`${address.url}: ${last}`),
      }),
    ),
  )
  const failed = results.flatMap(result => (result.status === 'rejected' ? [result.reason as unknown] : []))
  if (failed.length === 0) return addresses.map(({ url }) => url)
  throw new PlatformError(
    `${failed.length === 1 ? 'An application does' : `${failed.length} URLs of applications do`} not answer`,
    { why: failed.map(messageOf).join('\n'), hint: await hintFor(platform, messageOf(failed[0])) },
  )
}

// what is broken, from the outside in: name, route, ingress, application
async function hintFor(platform: Platform, failure: string): Promise<string> {
  if (/has no address/.test(failure)) return 'task setup-dnsmasq'
  if (!(await acceptsConnections({ ip: platform.applications.loopback, port: 80 }, 2000)))
    return 'task setup-kind-routing'
  return 'task deploy-ingress   # then task deploy-apps'
}
