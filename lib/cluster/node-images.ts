import type { Platform } from '../platform/platform.ts'
import { missingImages, taggedName, withTags } from '../stack/image-store.ts'
import { $ } from '../system/exec.ts'
import { clusterOf } from './cluster.ts'
import type { ClusterNode } from './nodes.ts'

/** Some hundred megabytes through an archive on the disk; a busy laptop needs a minute. */
const loadTimeout = '10m'

/** Copies images that the engine has to nodes that do not have them: nothing is downloaded twice, or at all. Nodes pull all others themselves. */
export async function ensureImagesOnNodes(
  platform: Platform,
  nodes: readonly ClusterNode[],
  images: readonly string[],
): Promise<'unchanged' | 'updated'> {
  if (images.length === 0) return 'unchanged'
  let changed = false
  const [missing, ...held] = await Promise.all([missingImages(images), ...nodes.map(({ name }) => imagesOn(name))])
  for (const image of images.filter(image => !missing.includes(image))) {
    const without = nodes.filter((_, index) => !held[index]?.has(nodeName(image))).map(({ name }) => name)
    if (without.length === 0) continue
    await loadImage(platform, without, image)
    changed = true
  }
  return changed ? 'updated' : 'unchanged'
}

// An archive carries names with tags only. What was pulled by its digest therefore goes by its tag, and gets its other name on the node.
async function loadImage(platform: Platform, nodes: readonly string[], image: string): Promise<void> {
  const tagged = taggedName(image)
  const { name } = clusterOf(platform)
  const kind = $({ timeout: loadTimeout })
  await withTags(
    [image],
    async () => void (await kind`kind load docker-image ${tagged} --name ${name} --nodes ${nodes.join()}`),
  )
  if (tagged === image) return
  const names = [nodeName(tagged), nodeName(image)]
  await Promise.all(nodes.map(node => $`docker exec ${node} ctr --namespace k8s.io images tag --force ${names}`))
}

async function imagesOn(node: string): Promise<Set<string>> {
  return new Set(await $`docker exec ${node} ctr --namespace k8s.io images list --quiet`.lines())
}

/** The name a node looks for when a pod names this image: in full, and by the digest alone where there is one. */
export function nodeName(image: string): string {
  const [tagged = '', digest] = image.split('@')
  const [host = '', ...rest] = tagged.split('/')
  const full =
    rest.length === 0 ? `docker.io/library/${tagged}` : /[.:]|^localhost$/.test(host) ? tagged : `docker.io/${tagged}`
  return digest === undefined ? full : `${full.replace(/:[^/:]*$/, '')}@${digest}`
}
