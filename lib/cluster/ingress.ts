import { parseAllDocuments } from 'yaml'
import type { Platform } from '../platform/platform.ts'
import { readTemplate } from '../platform/render.ts'
import { defaultSettings, type Settings } from '../platform/settings.ts'
import { mirrored } from '../stack/image-store.ts'
import { PlatformError } from '../system/errors.ts'
import { lastLines } from '../system/exec.ts'
import type { Certificate } from './certs.ts'
import { applicationsNamespace, clusterOf, ingressNamespace, tlsSecret } from './cluster.ts'
import { applyManifests, getObject, getObjects, type KubeObject, kubectl, manifestText, outcomeOf } from './kubectl.ts'
import { buildOverlay, type Overlay, onDomain } from './kustomize.ts'
import { marked } from './last-applied.ts'
import { askUntilGood, isGoodReply, type Question, replyText } from './probe.ts'
import { waitForRollout } from './rollout.ts'

/** Image of each controller as its template names it, and where its health page is. */
export const controllers = {
  nginx: { image: 'registry.k8s.io/ingress-nginx/controller', healthPath: '/healthz' },
  traefik: { image: 'traefik', healthPath: '/ping' },
} as const

/** Said once where ingress-nginx is deployed anew. */
export const retirementNotice =
  'ingress-nginx is retired: 1.15.1 is its last release, and it was tested up to Kubernetes 1.35. INGRESS_CONTROLLER=traefik serves the same manifests.'

/** A controller has loaded its first configuration within a second or two of being Ready. */
const probeDeadlineMs = 60_000
/** Some ten times what it takes once Services lead to their pods again. */
const startDeadlineMs = 60_000

/** The overlay for these settings; an image of the user's own in the place of the pinned one. */
export function ingressOverlay({ settings }: Platform): Overlay {
  const { controller, image, wanted } = controllerOf(settings)
  if (wanted === image) return { base: `ingress/${controller}` }
  const [, newName = wanted, newTag, digest] = /^(.+?)(?::([\w.-]+))?(?:@(sha256:[0-9a-f]{64}))?$/.exec(wanted) ?? []
  // a tag of its own takes the place of the pinned tag and digest; a mirror keeps both
  return {
    base: `ingress/${controller}`,
    images: [{ name: image, newName, ...(newTag ? { newTag } : {}), ...(digest ? { digest } : {}) }],
  }
}

/** The controller's objects as they are applied. */
export async function ingressObjects(platform: Platform): Promise<KubeObject[]> {
  const { MACULA_DOMAIN } = await defaultSettings()
  return onDomain(await buildOverlay(platform, ingressOverlay(platform)), MACULA_DOMAIN, platform.domain)
}

/** The controller's image as it is applied, known without kustomize: the pinned one, through the mirror that is set, or one of the user's own. */
export async function ingressImage({ settings }: Platform): Promise<string> {
  const { controller, image, wanted } = controllerOf(settings)
  const documents = parseAllDocuments(await readTemplate(`ingress/${controller}/controller.yaml`))
  const [pinned = ''] = imagesIn(documents.map(document => document.toJS() as KubeObject))
  return /[:@][^/]*$/.test(wanted) ? wanted : pinned.replace(image, wanted)
}

/** The controller of these settings: its image as its template names it, and the name that is wanted in its place. */
function controllerOf(settings: Settings) {
  const controller = settings.INGRESS_CONTROLLER as keyof typeof controllers
  const { image } = controllers[controller]
  return { controller, image, wanted: settings.INGRESS_IMAGE || mirrored(image, settings.IMAGE_MIRROR) }
}

/** Images that pods of these objects run. */
export function imagesIn(objects: readonly KubeObject[]): string[] {
  const images = objects.flatMap(({ spec }) => {
    const template = (spec as { template?: { spec?: { containers?: { image: string }[] } } } | undefined)?.template
    return (template?.spec?.containers ?? []).map(({ image }) => image)
  })
  return [...new Set(images)]
}

/** The certificate as the secret that Ingresses name. */
export function tlsObject(namespace: string, { certificate, key }: Certificate): KubeObject {
  const encoded = (text: string) => Buffer.from(text).toString('base64')
  return {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: tlsSecret, namespace },
    type: 'kubernetes.io/tls',
    data: { 'tls.crt': encoded(certificate), 'tls.key': encoded(key) },
  }
}

/**
 * Deploys the controller with its certificate, and waits until its pods are the new ones. Applications that have a certificate get this one, too:
 * of several for the same names the controller serves any, and an old one may be of a CA that is gone.
 */
export async function ensureIngress(
  platform: Platform,
  certificate: Certificate,
): Promise<'unchanged' | 'created' | 'updated'> {
  const cluster = clusterOf(platform)
  const [controller, inUse] = await Promise.all([
    ingressObjects(platform),
    getObject(cluster, applicationsNamespace, 'secret', tlsSecret),
  ])
  const objects = [
    ...controller,
    tlsObject(ingressNamespace, certificate),
    ...(inUse === undefined ? [] : [marked(tlsObject(applicationsNamespace, certificate))]),
  ]
  const outcome = outcomeOf(await applyManifests(cluster, manifestText(objects)))
  await waitForRollout(cluster, ingressNamespace, ['ingress-controller'])
  return outcome
}

/** What to ask to know that the IngressClass is served, from the machine's side of the node's port. */
export function ingressQuestion(platform: Platform, ca?: string): Question {
  const { settings, domain, loopback } = platform
  const { healthPath } = controllers[settings.INGRESS_CONTROLLER as keyof typeof controllers]
  const port = Number(ca === undefined ? settings.INGRESS_HTTP_PORT : settings.INGRESS_HTTPS_PORT)
  return {
    host: `ingress.${domain}`,
    path: healthPath,
    at: { ip: loopback, port },
    ...(ca === undefined ? {} : { ca }),
  }
}

/** Waits until an Ingress of the class is answered over HTTP, and over HTTPS with a certificate that the CA vouches for. */
export async function waitForIngress(platform: Platform, ca: string): Promise<void> {
  for (const question of [ingressQuestion(platform), ingressQuestion(platform, ca)]) {
    const reply = await askUntilGood(question, probeDeadlineMs)
    if (isGoodReply(reply)) continue
    const { ip, port } = question.at ?? { ip: '', port: 0 }
    throw new PlatformError(`The ingress does not serve ${question.host} at ${ip}:${port}`, {
      why: [replyText(reply), await controllerWords(platform)].filter(Boolean).join('\n'),
      hint: `task logs -- ingress`,
    })
  }
}

/**
 * After a start of the nodes: waits until the ingress and every application behind it answer again. Quiet where no controller has been deployed.
 */
export async function waitForStartedIngress(platform: Platform): Promise<'unchanged' | 'skipped'> {
  const cluster = clusterOf(platform)
  const ingresses = await getObjects(cluster, ['ingresses', '--all-namespaces'])
  if (!ingresses.some(({ metadata }) => metadata.namespace === ingressNamespace)) return 'skipped'
  const hosts = ingresses
    .filter(({ metadata }) => metadata.namespace === applicationsNamespace)
    .flatMap(({ spec }) => (spec as { rules?: { host?: string }[] }).rules ?? [])
    .flatMap(({ host }) => (host === undefined ? [] : [host]))
  const health = ingressQuestion(platform)
  const questions = [health, ...hosts.map(host => ({ ...health, host, path: '/' }))]
  const replies = await Promise.all(questions.map(question => askUntilGood(question, startDeadlineMs)))
  const failed = questions.flatMap((question, index) => {
    const reply = replies[index]
    return reply && !isGoodReply(reply) ? [`${question.host}: ${replyText(reply)}`] : []
  })
  if (failed.length === 0) return 'unchanged'
  throw new PlatformError(
    `The cluster was started, but not everything in it answers after ${startDeadlineMs / 1000} s`,
    {
      why: [...failed, await controllerWords(platform)].filter(Boolean).join('\n'),
      hint: 'task deploy-ingress && task deploy-apps',
    },
  )
}

async function controllerWords(platform: Platform): Promise<string> {
  const cluster = clusterOf(platform)
  const deployment = await getObject(cluster, ingressNamespace, 'deployment', 'ingress-controller')
  if (deployment === undefined) return ''
  return lastLines(
    await kubectl(cluster, ['--namespace', ingressNamespace, 'logs', 'deployment/ingress-controller', '--tail', '10']),
  )
}
