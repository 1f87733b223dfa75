import { connect } from 'node:net'
import type { Platform } from '../platform/platform.ts'
import { defaultSettings } from '../platform/settings.ts'
import { PlatformError } from '../system/errors.ts'
import { type BuiltImage, builtImage } from './application-images.ts'
import type { Certificate } from './certs.ts'
import { applicationNames, applicationsNamespace, clusterOf } from './cluster.ts'
import { tlsObject } from './ingress.ts'
import { applyManifests, getObjects, identityOf, type KubeObject, kubectl, manifestText, outcomeOf } from './kubectl.ts'
import { buildOverlay, type Overlay, onDomain } from './kustomize.ts'
import { isAsMarked, marked } from './last-applied.ts'
import { askUntilGood, isGoodReply, type Reply, replyText } from './probe.ts'
import { unfinishedRollouts, waitForRollout } from './rollout.ts'

/** The image every application has in templates/apps. */
const templateRepository = 'localhost:5001/macula'
const nameLabel = 'app.kubernetes.io/name'
const partOf = 'app.kubernetes.io/part-of'
/** Behind a ready pod the ingress needs less than a second to hear of it. */
const probeDeadlineMs = 30_000

/** The image of each application as it was pushed last. Throws, naming them, where some have none. */
export async function deployableImages(platform: Platform): Promise<BuiltImage[]> {
  const names = applicationNames(platform)
  const images = await Promise.all(names.map(name => builtImage(platform, name)))
  const without = names.filter((_, index) => images[index] === undefined)
  if (without.length > 0)
    throw new PlatformError(`No image has been built yet for ${without.join(', ')}`, { hint: 'task build-and-push' })
  return images.filter(image => image !== undefined)
}

/** The overlay over templates/apps: what the settings say of the platform. */
export function applicationsOverlay(platform: Platform): Overlay {
  return {
    base: 'apps',
    literals: {
      MACULA_DOMAIN: platform.domain,
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://tempo.${platform.domain}:4318`,
      S3_ENDPOINT: `http://s3.${platform.domain}:9000`,
      POSTGRES_HOST: `postgres.${platform.domain}`,
    },
  }
}

/** Objects of the applications that the catalogue names, with the images of the template; those of others are left out. */
export async function applicationObjects(platform: Platform): Promise<KubeObject[]> {
  const { MACULA_DOMAIN } = await defaultSettings()
  const known = applicationNames(platform)
  const objects = await buildOverlay(platform, applicationsOverlay(platform))
  return onDomain(objects, MACULA_DOMAIN, platform.domain).filter(({ metadata }) => {
    const application = metadata.labels?.[nameLabel]
    return application === undefined || known.includes(application)
  })
}

/** The same objects with the images that were built, by digest: a tag may have another image behind it by the time a pod starts. */
export function withImages(objects: readonly KubeObject[], images: readonly BuiltImage[]): KubeObject[] {
  const byName = new Map(
    images.map(({ application, repository, digest }) => [
      `${templateRepository}/${application}:dev`,
      `${repository}@${digest}`,
    ]),
  )
  return objects.map(object => {
    if (object.kind !== 'Deployment') return object
    const spec = structuredClone(object.spec) as { template: { spec: { containers: { image: string }[] } } }
    for (const container of spec.template.spec.containers)
      container.image = byName.get(container.image) ?? container.image
    return { ...object, spec }
  })
}

/** What there is in the applications' namespace of the kinds that applications consist of. */
export async function liveObjects(platform: Platform): Promise<KubeObject[]> {
  const kinds = 'deployments,services,ingresses,configmaps,secrets'
  return getObjects(clusterOf(platform), [kinds, '--namespace', applicationsNamespace])
}

/**
 * Applies the applications' objects and the certificate that their Ingresses name, those that are not there already just so. Throws with the
 * server's words for a field it does not know. A namespace with anything in it is left alone: on an existing cluster it may be somebody else's
 * to change. Returns the deployments whose roll-out is not through, beside what changed.
 */
export async function applyApplications(
  platform: Platform,
  objects: readonly KubeObject[],
  certificate: Certificate,
  live: readonly KubeObject[],
): Promise<{ outcome: 'unchanged' | 'created' | 'updated'; rolling: string[] }> {
  const wanted = [...objects, tlsObject(applicationsNamespace, certificate)]
    .filter(({ kind }) => kind !== 'Namespace' || live.length === 0)
    .map(marked)
  const missing = wanted.filter(object => !isAsMarked(object, live))
  const applied = missing.length === 0 ? [] : await applyManifests(clusterOf(platform), manifestText(missing), live)
  const now = new Map([...live, ...applied.map(({ object }) => object)].map(object => [identityOf(object), object]))
  const deployments = objects.flatMap(object => (object.kind === 'Deployment' && now.get(identityOf(object))) || [])
  return { outcome: outcomeOf(applied), rolling: unfinishedRollouts(deployments) }
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

export async function removeLeftovers(platform: Platform, objects: readonly KubeObject[]): Promise<void> {
  const words = objects.map(({ kind, metadata }) => `${kind}/${metadata.name}`)
  await kubectl(clusterOf(platform), ['delete', '--namespace', applicationsNamespace, '--ignore-not-found', ...words])
}

/** Asks every application at its own URL, over HTTP and, with a CA, over HTTPS. Throws, naming each that does not answer. */
export async function probeApplications(platform: Platform, ca: string): Promise<string[]> {
  const questions = platform.applications.names.flatMap(host => [
    { host, path: '/' },
    { host, path: '/', ca },
  ])
  const replies = await Promise.all(questions.map(question => askUntilGood(question, probeDeadlineMs)))
  const urls = questions.map(({ host, ca }) => `${ca === undefined ? 'http' : 'https'}://${host}`)
  const failed = replies.flatMap((reply, index) => (isGoodReply(reply) ? [] : [{ url: urls[index] ?? '', reply }]))
  if (failed.length === 0) return urls
  throw new PlatformError(
    `${failed.length === 1 ? 'An application does' : `${failed.length} addresses of applications do`} not answer`,
    {
      why: failed.map(({ url, reply }) => `${url}: ${replyText(reply)}`).join('\n'),
      hint: await hintFor(platform, failed[0]?.reply),
    },
  )
}

// where the way breaks, from the outside in: name, route, ingress, application
async function hintFor(platform: Platform, reply: Reply | undefined): Promise<string> {
  if (reply && 'error' in reply && ['ENOTFOUND', 'EAI_AGAIN'].includes(reply.code ?? '')) return 'task setup-dnsmasq'
  if (!(await listens(platform.applications.loopback, 80))) return 'task setup-kind-routing'
  return 'task deploy-ingress   # then task deploy-apps'
}

function listens(host: string, port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect({ host, port, timeout: 2000 })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket
      .once('connect', () => end(true))
      .once('error', () => end(false))
      .once('timeout', () => end(false))
  })
}
