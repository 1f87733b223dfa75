import { isDeepStrictEqual } from 'node:util'
import type { Platform } from '../platform/platform.ts'
import { readTemplate } from '../platform/render.ts'
import { defaultSettings, type Settings } from '../platform/settings.ts'
import { mirrored } from '../stack/image-store.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import { lastLines } from '../system/exec.ts'
import { waitFor } from '../system/wait.ts'
import { requireOk, type WebAddress } from './answer.ts'
import { applyManifests } from './apply.ts'
import { type Certificate, tlsManifest } from './certs.ts'
import { applicationsNamespace, clusterOf, ingressNamespace, tlsSecret } from './cluster.ts'
import { getObject, getObjects, kubectlOn } from './kubectl.ts'
import { type Overlay, renamedImage } from './kustomize.ts'
import type { ClusterNode } from './nodes.ts'

/** Image of each controller as its template names it, and where its health page is. */
export const controllers = {
  nginx: { image: 'registry.k8s.io/ingress-nginx/controller', healthPath: '/healthz' },
  traefik: { image: 'traefik', healthPath: '/ping' },
} as const

/** A warning, shown once where ingress-nginx is deployed for the first time. */
export const retirementNotice =
  'ingress-nginx is retired: 1.15.1 is its last release, and it was tested up to Kubernetes 1.35. INGRESS_CONTROLLER=traefik serves the same manifests.'

/** A controller has loaded its first configuration within a second or two of being Ready. */
const probeTimeoutMs = 60_000
/** Some ten times what it takes once Services forward to their pods again. */
const startTimeoutMs = 60_000

/** The controller of these settings, as a kustomization; with the user's own image instead of the pinned one, where they name one. */
export async function ingressOverlay(platform: Platform, nodes: readonly ClusterNode[]): Promise<Overlay> {
  const { controller, image, wanted } = controllerOf(platform.settings)
  const { MACULA_DOMAIN } = await defaultSettings()
  const overlay: Overlay = {
    name: 'ingress',
    resources: [`ingress/${controller}`],
    hosts: platform.domain === MACULA_DOMAIN ? {} : { 'ingress-health': `ingress.${platform.domain}` },
    patches: [
      {
        target: { kind: 'Service', name: 'ingress-controller' },
        operations: [{ op: 'add', path: '/spec/externalIPs', value: addressesOf(nodes) }],
      },
    ],
  }
  return wanted === image ? overlay : { ...overlay, images: renamedImage(image, wanted) }
}

/** Every address of the nodes on any network. All of them, because nodes may swap theirs when the engine starts them again. */
function addressesOf(nodes: readonly ClusterNode[]): string[] {
  const addresses = nodes.flatMap(({ networks }) => Object.values(networks).map(({ address }) => address))
  return [...new Set(addresses.filter(Boolean))].sort()
}

/** After a start of the nodes: has the ingress listen on the addresses that they have now. */
export async function ensureIngressAddresses(platform: Platform, nodes: readonly ClusterNode[]): Promise<void> {
  const cluster = clusterOf(platform)
  const service = await getObject(cluster, ingressNamespace, 'service', 'ingress-controller')
  const externalIPs = addressesOf(nodes)
  if (service === undefined || isDeepStrictEqual((service.spec as { externalIPs?: string[] }).externalIPs, externalIPs))
    return
  const patch = JSON.stringify({ spec: { externalIPs } })
  await kubectlOn(
    cluster,
  )`--namespace ${ingressNamespace} patch service ingress-controller --field-manager macula --patch ${patch}`
}

/** The controller's image as it is applied, known without kustomize: the pinned one, through the mirror that is set, or one of the user's own. */
export async function ingressImage({ settings }: Platform): Promise<string> {
  const { controller, image, wanted } = controllerOf(settings)
  return /[:@][^/]*$/.test(wanted) ? wanted : (await pinnedImage(controller)).replace(image, wanted)
}

/** The images that our manifests name, of every controller that can be chosen. */
export function pinnedIngressImages(): Promise<string[]> {
  return Promise.all(Object.keys(controllers).map(pinnedImage))
}

async function pinnedImage(controller: string): Promise<string> {
  const [, pinned = ''] = /^ +image: (\S+)$/m.exec(await readTemplate(`ingress/${controller}/controller.yaml`)) ?? []
  return pinned
}

/** The controller of these settings: its image as its template names it, and the name that is wanted instead. */
function controllerOf(settings: Settings) {
  const controller = settings.INGRESS_CONTROLLER as keyof typeof controllers
  const { image } = controllers[controller]
  return { controller, image, wanted: settings.INGRESS_IMAGE || mirrored(image, settings.IMAGE_MIRROR) }
}

/**
 * Gives applications that have a certificate this one, too: of several for the same names the controller serves any, and an old one may be of
 * a CA that is gone.
 */
export async function renewApplicationsCertificate(platform: Platform, certificate: Certificate): Promise<void> {
  const cluster = clusterOf(platform)
  const inUse = await getObject(cluster, applicationsNamespace, 'secret', tlsSecret)
  const manifest = tlsManifest(applicationsNamespace, certificate)
  if (inUse !== undefined && !isDeepStrictEqual(inUse.data, JSON.parse(manifest).data))
    await applyManifests(cluster, manifest)
}

/** The controller's health page behind an Ingress of the class, from the machine's side of the node's port. */
export function ingressAddress({ settings, domain, loopback }: Platform, ca?: string): WebAddress {
  const { healthPath } = controllers[settings.INGRESS_CONTROLLER as keyof typeof controllers]
  const url = (scheme: string) => `${scheme}://ingress.${domain}${healthPath}`
  return ca === undefined
    ? { url: url('http'), ip: loopback, port: Number(settings.INGRESS_HTTP_PORT) }
    : { url: url('https'), ip: loopback, port: Number(settings.INGRESS_HTTPS_PORT), ca }
}

/** Waits until an Ingress of the class answers over HTTP, and over HTTPS with a certificate of the CA. */
export async function waitForIngress(platform: Platform, ca: string): Promise<void> {
  for (const address of [ingressAddress(platform), ingressAddress(platform, ca)])
    await waitFor(signal => requireOk(address, { signal }), {
      timeoutMs: probeTimeoutMs,
      pauseMs: 100,
      onTimeout: async last =>
        new PlatformError(`The ingress does not answer ${address.url} at ${address.ip}:${address.port}`, {
          why: [last, await controllerLog(platform)].filter(Boolean).join('\n'),
          hint: 'task logs -- ingress',
        }),
    })
}

/**
 * After a start of the nodes: waits until the ingress and every application behind it answer again. Does nothing where no controller was deployed.
 */
export async function waitForStartedIngress(platform: Platform): Promise<'unchanged' | 'skipped'> {
  const ingresses = await getObjects(clusterOf(platform), ['ingresses', '--all-namespaces'])
  if (!ingresses.some(({ metadata }) => metadata.namespace === ingressNamespace)) return 'skipped'
  const hosts = ingresses
    .filter(({ metadata }) => metadata.namespace === applicationsNamespace)
    .flatMap(({ spec }) => (spec as { rules?: { host?: string }[] }).rules ?? [])
    .flatMap(({ host }) => (host === undefined ? [] : [host]))
  const health = ingressAddress(platform)
  const addresses = [health, ...hosts.map(host => ({ ...health, url: `http://${host}/` }))]
  const results = await Promise.allSettled(
    addresses.map(address =>
      waitFor(signal => requireOk(address, { signal }), {
        timeoutMs: startTimeoutMs,
        pauseMs: 100,
        onTimeout: last => new PlatformError(`${address.url}: ${last}`),
      }),
    ),
  )
  const failed = results.flatMap(result => (result.status === 'rejected' ? [messageOf(result.reason)] : []))
  if (failed.length === 0) return 'unchanged'
  const seconds = startTimeoutMs / 1000
  throw new PlatformError(`The cluster was started, but not everything in it answers after ${seconds} s`, {
    why: [...failed, await controllerLog(platform)].filter(Boolean).join('\n'),
    hint: 'task deploy-ingress && task deploy-apps',
  })
}

async function controllerLog(platform: Platform): Promise<string> {
  const kubectl = kubectlOn(clusterOf(platform), { nothrow: true })
  const { exitCode, stdout } =
    await kubectl`--namespace ${ingressNamespace} logs deployment/ingress-controller --tail 10`
  return exitCode === 0 ? lastLines(stdout) : ''
}
