import type { Platform } from '../platform/platform.ts'
import { missingImages } from '../stack/image-store.ts'
import { run } from '../system/exec.ts'
import { clusterOf } from './cluster.ts'
import type { ClusterNode } from './nodes.ts'

/** Gives nodes the images that the engine has and they have not: nothing has to be downloaded twice, or at all. Others they pull themselves. */
export async function ensureImagesOnNodes(
  platform: Platform,
  nodes: readonly ClusterNode[],
  images: readonly string[],
): Promise<'unchanged' | 'updated'> {
  let changed = false
  const missing = await missingImages(images)
  const held = await Promise.all(nodes.map(({ name }) => imagesOn(name)))
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
  const [tagged = image, digest] = image.split('@')
  if (digest !== undefined) await run(['docker', 'tag', image, tagged])
  await run(['kind', 'load', 'docker-image', tagged, '--name', clusterOf(platform).name, '--nodes', nodes.join()])
  if (digest === undefined) return
  const names = [nodeName(tagged), nodeName(image)]
  await Promise.all(
    nodes.map(node =>
      run(['docker', 'exec', node, 'ctr', '--namespace', 'k8s.io', 'images', 'tag', '--force', ...names]),
    ),
  )
}

async function imagesOn(node: string): Promise<Set<string>> {
  const { stdout } = await run(['docker', 'exec', node, 'ctr', '--namespace', 'k8s.io', 'images', 'list', '--quiet'])
  return new Set(stdout.split('\n'))
}

/** The name a node looks for when a pod names this image: in full, and by the digest alone where there is one. */
export function nodeName(image: string): string {
  const [tagged = '', digest] = image.split('@')
  const [host = '', ...rest] = tagged.split('/')
  const full =
    rest.length === 0 ? `docker.io/library/${tagged}` : /[.:]|^localhost$/.test(host) ? tagged : `docker.io/${tagged}`
  return digest === undefined ? full : `${full.replace(/:[^/:]*$/, '')}@${digest}`
}
