import type { Platform } from '../platform/platform.ts'
import { serviceNamed } from '../platform/platform.ts'
import { hashOf } from '../platform/render.ts'
import { ensureApplied, outcomeOf } from './apply.ts'
import { registryHost } from './cluster.ts'
import type { KubeObject } from './kubectl.ts'
import { type ClusterNode, ensureNodeFiles } from './nodes.ts'

/** Names of our registry in the images that a node's containerd pulls. */
export function registryNames(platform: Platform): string[] {
  return [registryHost(platform.settings), `registry.${platform.domain}`]
}

/** Tells containerd (1.7 and 2 alike) to fetch images of one registry name from our registry, over plain HTTP. */
export function hostsToml(address: string): string {
  return [
    `server = "http://${address}"`,
    '',
    `[host."http://${address}"]`,
    '  capabilities = ["pull", "resolve"]',
    '',
  ].join('\n')
}

/**
 * Every node pulls from our registry under each of its names. containerd reads these files at each pull, so nothing is restarted. `seen` is what a look
 * at the whole cluster has found a moment ago.
 */
export async function ensureRegistryWiring(
  platform: Platform,
  nodes: readonly ClusterNode[],
  seen?: readonly KubeObject[],
): Promise<'unchanged' | 'updated'> {
  const { address } = serviceNamed(platform, 'registry')
  const content = hostsToml(`${address}:5000`)
  const outcomes = await Promise.all(
    nodes.map(node =>
      ensureNodeFiles(
        node,
        registryNames(platform).map(name => `/etc/containerd/certs.d/${name}/hosts.toml`),
        content,
      ),
    ),
  )
  const [host = ''] = registryNames(platform)
  // tools like Tilt and Skaffold read this to find the cluster's registry: KEP-1755
  const hosting = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'local-registry-hosting', namespace: 'kube-public' },
    data: {
      'localRegistryHosting.v1': `host: "${host}"\nhelp: "https://kind.sigs.k8s.io/docs/user/local-registry/"\n`,
    },
  }
  const input = JSON.stringify(hosting)
  const manifests = { name: 'registry', args: ['-f', '-'], input, source: hashOf(input) }
  const applied = await ensureApplied(platform, manifests, seen)
  return outcomes.includes('updated') || outcomeOf(applied) !== 'unchanged' ? 'updated' : 'unchanged'
}
