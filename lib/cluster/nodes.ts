import { answerOf, engine, inspectListed } from '../stack/engine.ts'
import { PlatformError } from '../system/errors.ts'
import { $, failureOf, type Shell } from '../system/exec.ts'
import { NotYet, waitFor } from '../system/wait.ts'

/** A node of a KinD cluster: a container with a label. */
export interface ClusterNode {
  id: string
  name: string
  /** Name of its cluster. */
  cluster: string
  role: 'control-plane' | 'worker'
  created: Date
  /** When it was started last. */
  started: Date
  running: boolean
  image: string
  restartPolicy: string
  /** Docker networks it is on, by name. */
  networks: Record<string, { id: string; address: string; aliases: readonly string[] }>
}

interface Inspected {
  Id: string
  Name: string
  Created: string
  State: { Running: boolean; StartedAt: string }
  Config: { Image: string; Labels: Record<string, string> }
  HostConfig: { RestartPolicy: { Name: string } }
  NetworkSettings: {
    Networks: Record<
      string,
      {
        NetworkID: string
        IPAddress: string
        IPAMConfig?: { IPv4Address?: string } | null
        Aliases?: string[] | null
      }
    >
  }
}

const clusterLabel = 'io.x-k8s.kind.cluster'
const roleLabel = 'io.x-k8s.kind.role'

/**
 * The nodes of the KinD cluster of that name, whoever created it, running or not, control plane first; none where there is no such cluster. `likely`
 * are the ids of some that may be among them.
 */
export async function nodesNamed(cluster: string, likely: readonly string[] = []): Promise<ClusterNode[]> {
  const label = `label=${clusterLabel}=${cluster}`
  const nodes = await inspectListed(
    async () => (await engine()`docker ps --all --quiet --no-trunc --filter ${label}`).lines(),
    nodesWithIds,
    likely,
  )
  return nodes.sort(byRoleAndName)
}

/** The nodes with these container ids. */
export async function nodesWithIds(ids: readonly string[]): Promise<ClusterNode[]> {
  if (ids.length === 0) return []
  // those that are gone are reported on stderr, with exit code 1; the others are printed all the same
  const { stdout } = await answerOf()`docker inspect --type container ${ids}`
  return (JSON.parse(stdout || '[]') as Inspected[]).map(describeNode).sort(byRoleAndName)
}

function describeNode(inspected: Inspected): ClusterNode {
  const networks = Object.entries(inspected.NetworkSettings.Networks).map(([name, network]) => [
    name,
    {
      id: network.NetworkID,
      address: network.IPAddress || network.IPAMConfig?.IPv4Address || '',
      aliases: network.Aliases ?? [],
    },
  ])
  return {
    id: inspected.Id,
    name: inspected.Name.replace(/^\//, ''),
    cluster: inspected.Config.Labels[clusterLabel] ?? '',
    role: inspected.Config.Labels[roleLabel] === 'worker' ? 'worker' : 'control-plane',
    created: new Date(inspected.Created),
    started: new Date(inspected.State.StartedAt),
    running: inspected.State.Running,
    image: inspected.Config.Image,
    restartPolicy: inspected.HostConfig.RestartPolicy.Name,
    networks: Object.fromEntries(networks),
  }
}

function byRoleAndName(one: ClusterNode, other: ClusterNode): number {
  if (one.role !== other.role) return one.role === 'control-plane' ? -1 : 1
  return one.name.localeCompare(other.name, 'en', { numeric: true })
}

/** The id of the containers' network. Throws where it does not exist, because the services have not been started. */
export async function requireNetwork(network: string): Promise<string> {
  const found = await answerOf()`docker network inspect --format '{{.Id}}' ${network}`
  if (found.exitCode === 0 && found.stdout.trim() !== '') return found.stdout.trim()
  throw new PlatformError(`The network ${network} of the platform's services does not exist`, {
    why: found.stderr.trim(),
    hint: 'task start-infrastructure   # then run this again',
  })
}

/**
 * Connects nodes to the containers' network, each with an address of its own: pods reach the services there, and the services' addresses never
 * change, while a container that Compose recreates would lose every network that Compose does not know. A network that was recreated is joined again.
 * The first node, where the ingress is, has the names of the applications there: containers reach them as pods reach the services.
 */
export async function ensureOnNetwork(
  nodes: readonly ClusterNode[],
  network: { name: string; id: string },
  addressOf: (index: number) => string,
  names: readonly string[],
): Promise<'unchanged' | 'updated'> {
  let changed = false
  for (const [index, node] of nodes.entries()) {
    const joined = node.networks[network.name]
    const aliases = index === 0 ? names : []
    if (joined?.id === network.id && aliases.every(name => joined.aliases.includes(name))) continue
    if (joined) await $`docker network disconnect --force ${network.name} ${node.id}`
    const named = aliases.flatMap(name => ['--alias', name])
    await $`docker network connect --ip ${addressOf(index)} ${named} ${network.name} ${node.id}`
    changed = true
  }
  return changed ? 'updated' : 'unchanged'
}

/** Nodes come back with the engine, as the services do. */
export async function ensureRestart(nodes: readonly ClusterNode[]): Promise<void> {
  const others = nodes.filter(({ restartPolicy }) => restartPolicy !== 'unless-stopped').map(({ id }) => id)
  if (others.length > 0) await $`docker update --restart unless-stopped ${others}`
}

/** Some hundred processes end with a node; on a busy machine that takes longer than the 10 s which the engine waits for it. */
const removeTimeoutMs = 60_000

/** Removes nodes with all that runs in them and their own volumes. Throws with the engine's words where it cannot. */
export async function removeNodes(ids: readonly string[], shell: Shell = $, pauseMs = 1000): Promise<void> {
  const failed = await waitFor(
    async () => {
      const result = await shell({ nothrow: true })`docker rm --force --volumes ${ids}`
      if (result.exitCode === 0) return undefined
      // they were killed all the same; the next call finds those that have ended meanwhile
      const isEnding = /did not receive an exit event|removal of container \S+ is already in progress/.test(
        result.stderr,
      )
      return isEnding ? new NotYet(result.stderr) : result
    },
    {
      timeoutMs: removeTimeoutMs,
      pauseMs,
      onTimeout: last => new PlatformError('The nodes could not be removed', { why: last.trim(), hint: 'task doctor' }),
    },
  )
  // "No such container" is what is wanted, whoever removed it
  const isGone = failed?.stderr.split('\n').every(line => line === '' || line.includes('No such container'))
  if (failed !== undefined && !isGone) throw failureOf(`docker rm --force --volumes ${ids.join(' ')}`, failed)
}

/** Writes one content to files of a node where they differ. Through standard input: an engine in a namespace of its own cannot copy from our file system. */
export async function ensureNodeFiles(
  node: ClusterNode,
  paths: readonly string[],
  content: string,
): Promise<'unchanged' | 'updated'> {
  const before = await $({ nothrow: true })`docker exec ${node.id} cat ${paths}`
  if (before.exitCode === 0 && before.stdout === content.repeat(paths.length)) return 'unchanged'
  const write = 'mkdir -p "$(dirname "$0")" && cat > "$0"'
  for (const path of paths) await $({ input: content })`docker exec --interactive ${node.id} sh -c ${write} ${path}`
  return 'updated'
}
