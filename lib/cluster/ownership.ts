import { readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ensureInstallation, forgetOwned, isRecorded, readInstallation, recordOwned } from '../platform/installation.ts'
import type { Platform } from '../platform/platform.ts'
import { writeIfChanged } from '../platform/render.ts'
import type { Paths } from '../platform/settings.ts'
import { PlatformError } from '../system/errors.ts'
import { $ } from '../system/exec.ts'
import { elapsed } from '../system/text.ts'
import { type ClusterNode, ensureNodeFiles, nodesNamed, nodesWithIds } from './nodes.ts'

// A KinD cluster is ours when the ids of its containers are recorded as ours: anybody may have a cluster of that name, and kind takes no labels
// for containers. Each node also carries a file that says who created it, for whoever finds the cluster without our records.

/** A KinD cluster of the name in our settings that this installation did not create. */
export interface ForeignCluster {
  name: string
  nodes: readonly ClusterNode[]
  created: Date
  /** State folder of the installation that created it, where its node tells. */
  folder: string | undefined
}

type StateFolder = Pick<Paths, 'stateDir'>

/** Where a node says who created it. */
const markFile = '/kind/macula.json'
/** kind itself gives up long before; a cluster of that name that is younger than this after the start of our attempt is what is left of it. */
const creationMs = 20 * 60_000

/** The nodes of the cluster that the settings name, if it is ours, and who else's it is, if not. */
export async function findCluster({ settings, paths }: Pick<Platform, 'settings' | 'paths'>): Promise<{
  nodes: ClusterNode[]
  foreign: ForeignCluster | undefined
}> {
  const nodes = await nodesNamed(settings.CLUSTER_NAME, (await readInstallation(paths))?.owned.node)
  const ours = await ownAmong(nodes, paths)
  const [other] = nodes.filter(node => !ours.includes(node))
  if (other === undefined) return { nodes, foreign: undefined }
  const foreign = { name: settings.CLUSTER_NAME, nodes, created: other.created, folder: await folderOf(other, paths) }
  return { nodes: [], foreign }
}

/** The nodes of our cluster; none where there is none. Throws for a cluster of that name that is not ours, which no task touches. */
export async function ownNodes(platform: Pick<Platform, 'settings' | 'paths'>): Promise<ClusterNode[]> {
  const { nodes, foreign } = await findCluster(platform)
  if (foreign !== undefined) throw foreignError(foreign, platform.paths)
  return nodes
}

/** The nodes of our cluster. Throws where there is none. */
export async function requireNodes(platform: Platform): Promise<ClusterNode[]> {
  const nodes = await ownNodes(platform)
  if (nodes.length > 0) return nodes
  throw new PlatformError(`There is no cluster ${platform.settings.CLUSTER_NAME}`, { hint: 'task setup-cluster' })
}

/** Every node that this installation created and that still exists, whatever the settings say by now; for teardown. */
export async function recordedNodes(paths: StateFolder): Promise<ClusterNode[]> {
  const installation = await readInstallation(paths)
  const recorded = await nodesWithIds(installation?.owned.node ?? [])
  const attempt = await unfinishedCreation(paths)
  const left = attempt === undefined ? [] : await ownAmong(await nodesNamed(attempt.cluster), paths)
  return [...recorded, ...left.filter(({ id }) => !recorded.some(node => node.id === id))]
}

/** What a cluster that is not ours is called in messages: `created 3 days ago from /home/me/other/.macula`. */
export function describeForeign({ created, folder }: ForeignCluster, now = new Date()): string {
  const from = folder === undefined ? 'its nodes do not say by whom' : `from ${folder}`
  return `created ${elapsed(created, now)} ago, ${from}`
}

/** The error for a cluster that is not ours, with the ways out. */
export function foreignError(foreign: ForeignCluster, paths: StateFolder): PlatformError {
  const { name, folder } = foreign
  return new PlatformError(`The KinD cluster ${name} was not created by this installation; it stays as it is`, {
    why: describeForeign(foreign),
    hint: [
      'CLUSTER_NAME=another-name in .env   # gives ours another name',
      `kind delete cluster --name ${name}   # removes theirs, with all that runs in it`,
      ...(folder === paths.stateDir
        ? ['task setup-cluster -- --adopt   # takes it over: it was created from this folder']
        : []),
    ].join('\n'),
  })
}

/** Whether a foreign cluster may be taken over: only one that was created from this very state folder, whose records are gone. */
export function isAdoptable({ folder }: ForeignCluster, { stateDir }: StateFolder): boolean {
  return folder === stateDir
}

/** Takes a cluster over, once a person has agreed. */
export async function adopt({ nodes }: ForeignCluster, paths: StateFolder): Promise<void> {
  await recordNodes(nodes, paths)
}

/** Records that kind is about to create a cluster of that name, which nobody has yet. */
export async function beginCreation(cluster: string, paths: StateFolder): Promise<void> {
  await ensureInstallation(paths)
  await writeIfChanged(attemptFile(paths), JSON.stringify({ cluster, startedAt: new Date().toISOString() }))
}

/** The attempt at a cluster that was not finished; undefined where there is none. */
export async function unfinishedCreation(
  paths: StateFolder,
): Promise<{ cluster: string; startedAt: Date } | undefined> {
  const text = await readFile(attemptFile(paths), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const since = (await stat(attemptFile(paths))).mtime
  try {
    const { cluster, startedAt } = JSON.parse(text) as { cluster: string; startedAt: string }
    return { cluster, startedAt: new Date(startedAt) }
  } catch {
    // written by an earlier release, which left it empty, or cut off by a crash
    return { cluster: '', startedAt: since }
  }
}

/** Forgets the attempt: it is finished, or nothing is left of it. */
export async function endCreation(paths: StateFolder): Promise<void> {
  await rm(attemptFile(paths), { force: true })
}

/** Records nodes as ours, and says on each of them whose it is. */
export async function recordNodes(nodes: readonly ClusterNode[], paths: StateFolder): Promise<void> {
  const { id } = await recordOwned(
    paths,
    'node',
    nodes.map(node => node.id),
  )
  const mark = `${JSON.stringify({ installation: id, folder: paths.stateDir })}\n`
  await Promise.all(nodes.filter(({ running }) => running).map(node => ensureNodeFiles(node, [markFile], mark)))
}

/** Forgets nodes that were removed. */
export async function forgetNodes(ids: readonly string[], paths: StateFolder): Promise<void> {
  if ((await readInstallation(paths)) !== undefined) await forgetOwned(paths, 'node', ids)
}

/** Those of the nodes that are recorded as ours, or that our unfinished attempt has left. */
async function ownAmong(nodes: readonly ClusterNode[], paths: StateFolder): Promise<ClusterNode[]> {
  if (nodes.length === 0) return []
  const [installation, attempt] = await Promise.all([readInstallation(paths), unfinishedCreation(paths)])
  return nodes.filter(({ id, created, cluster }) => {
    if (isRecorded(installation, 'node', id)) return true
    // when the attempt began there was no cluster of that name
    return attempt?.cluster === cluster && created.getTime() < attempt.startedAt.getTime() + creationMs
  })
}

/** The state folder that a node says it was created from; for nodes of an earlier release, ours where its kubeconfig is that of the cluster. */
async function folderOf(node: ClusterNode, { stateDir }: StateFolder): Promise<string | undefined> {
  const mark = await readOnNode(node, markFile)
  if (mark !== '') return (JSON.parse(mark) as { folder?: string }).folder
  const authority = Buffer.from(await readOnNode(node, '/etc/kubernetes/pki/ca.crt')).toString('base64')
  const kubeconfig = await readFile(join(stateDir, 'kubeconfig'), 'utf8').catch(() => '')
  return authority !== '' && kubeconfig.includes(`certificate-authority-data: ${authority}\n`) ? stateDir : undefined
}

/** A file of a node, running or stopped; empty where it has none. */
async function readOnNode({ id }: ClusterNode, path: string): Promise<string> {
  const { stdout } = await $({ nothrow: true })`docker cp ${`${id}:${path}`} - | tar -xO`
  return stdout
}

function attemptFile({ stateDir }: StateFolder): string {
  return join(stateDir, 'cluster', 'unfinished')
}
