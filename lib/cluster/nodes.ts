import { setTimeout as pause } from 'node:timers/promises'
import type { Platform } from '../platform/platform.ts'
import { PlatformError } from '../system/errors.ts'
import { ask, failure, type Runner, run } from '../system/exec.ts'
import { notOurs } from './cluster.ts'

/** A node of a KinD cluster: a container with a label. */
export interface ClusterNode {
  id: string
  name: string
  role: 'control-plane' | 'worker'
  running: boolean
  image: string
  restartPolicy: string
  /** Docker networks it is on, by name. */
  networks: Record<string, { id: string; address: string; aliases: readonly string[] }>
}

interface Inspected {
  Id: string
  Name: string
  State: { Running: boolean }
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

/** The nodes of the KinD cluster of that name, running or not, control plane first; none where there is no such cluster. */
export async function nodesOf(cluster: string): Promise<ClusterNode[]> {
  const listed = await ask(['docker', 'ps', '--all', '--quiet', '--filter', `label=${clusterLabel}=${cluster}`])
  if (listed.exitCode !== 0)
    throw new PlatformError('Docker does not answer', { why: listed.stderr.trim(), hint: 'task doctor' })
  const ids = listed.stdout.split('\n').filter(Boolean)
  if (ids.length === 0) return []
  const { stdout } = await run(['docker', 'inspect', ...ids])
  return (JSON.parse(stdout) as Inspected[]).map(describeNode).sort(byRoleAndName)
}

/** The nodes of our cluster, or the reason why a step that is about them has nothing to do. */
export async function nodesOrReason(platform: Platform): Promise<{ nodes: ClusterNode[]; reason: string | undefined }> {
  const foreign = notOurs(platform)
  const nodes = foreign === undefined ? await nodesOf(platform.settings.CLUSTER_NAME) : []
  return {
    nodes,
    reason: foreign ?? (nodes.length > 0 ? undefined : 'There is no cluster. Make one: task setup-cluster'),
  }
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
    role: inspected.Config.Labels[roleLabel] === 'worker' ? 'worker' : 'control-plane',
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

/**
 * Puts nodes on the containers' network, each with an address of its own: pods reach the services there, and the services' addresses never change,
 * while a container that Compose makes anew would lose every network that Compose does not know. A network that was made anew since is joined again.
 * The first node, where the ingress is, has the names of the applications there: containers reach them as pods reach the services.
 */
export async function ensureOnNetwork(
  nodes: readonly ClusterNode[],
  network: string,
  addressOf: (index: number) => string,
  names: readonly string[],
): Promise<'unchanged' | 'updated'> {
  const found = await ask(['docker', 'network', 'inspect', '--format', '{{.Id}}', network])
  if (found.exitCode !== 0)
    throw new PlatformError(`The network ${network} of the platform's services is not there`, {
      why: found.stderr.trim(),
      hint: 'task start-infrastructure',
    })
  const id = found.stdout.trim()
  let changed = false
  for (const [index, node] of nodes.entries()) {
    const joined = node.networks[network]
    const aliases = index === 0 ? names : []
    if (joined?.id === id && aliases.every(name => joined.aliases.includes(name))) continue
    if (joined) await run(['docker', 'network', 'disconnect', '--force', network, node.name])
    const words = aliases.flatMap(name => ['--alias', name])
    await run(['docker', 'network', 'connect', '--ip', addressOf(index), ...words, network, node.name])
    changed = true
  }
  return changed ? 'updated' : 'unchanged'
}

/** Nodes come back with the engine, as the services do. */
export async function ensureRestart(nodes: readonly ClusterNode[]): Promise<void> {
  const others = nodes.filter(({ restartPolicy }) => restartPolicy !== 'unless-stopped').map(({ name }) => name)
  if (others.length > 0) await run(['docker', 'update', '--restart', 'unless-stopped', ...others])
}

export async function startNodes(nodes: readonly ClusterNode[]): Promise<'unchanged' | 'updated'> {
  const stopped = nodes.filter(({ running }) => !running).map(({ name }) => name)
  if (stopped.length > 0) await run(['docker', 'start', ...stopped])
  return stopped.length > 0 ? 'updated' : 'unchanged'
}

export async function stopNodes(nodes: readonly ClusterNode[]): Promise<'unchanged' | 'updated'> {
  const running = nodes.filter(node => node.running).map(({ name }) => name)
  // workers first, so that the control plane sees them go
  if (running.length > 0) await run(['docker', 'stop', ...running.reverse()])
  return running.length > 0 ? 'updated' : 'unchanged'
}

/** Some hundred processes end with a node; on a busy machine that takes longer than the 10 s which the engine waits for it. */
const removeDeadlineMs = 60_000

/** Removes nodes with all that runs in them and their own volumes. Throws with the engine's words where it does not get rid of them. */
export async function removeNodes(names: readonly string[], asker: Runner = ask, pauseMs = 1000): Promise<void> {
  const command = ['docker', 'rm', '--force', '--volumes', ...names]
  const deadline = Date.now() + removeDeadlineMs
  for (;;) {
    const result = await asker(command)
    if (result.exitCode === 0) return
    // they were killed all the same; asked again, it finds those that have ended meanwhile
    const isEnding = /did not receive an exit event|removal of container \S+ is already in progress/.test(result.stderr)
    if (!isEnding || Date.now() > deadline) throw failure(command, result)
    await pause(pauseMs)
  }
}

/** Writes a file on a node where it differs. Through standard input: an engine in a namespace of its own cannot copy from our file system. */
export async function ensureNodeFile(
  node: ClusterNode,
  path: string,
  content: string,
): Promise<'unchanged' | 'updated'> {
  const before = await ask(['docker', 'exec', node.name, 'cat', path])
  if (before.exitCode === 0 && before.stdout === content) return 'unchanged'
  await run(
    ['docker', 'exec', '--interactive', node.name, 'sh', '-c', 'mkdir -p "$(dirname "$0")" && cat > "$0"', path],
    { input: content },
  )
  return 'updated'
}
