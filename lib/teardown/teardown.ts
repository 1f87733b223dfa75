import { readFile, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { openJournal, type Undone } from '../journal/journal.ts'
import { journalFile } from '../journal/records.ts'
import type { Paths } from '../platform/settings.ts'
import { hasRenderedFiles, renderedProject } from '../stack/compose.ts'
import { engineTimeoutMs, engineVersion } from '../stack/docker.ts'
import { messageOf } from '../system/errors.ts'
import { ask, hasTool, run } from '../system/exec.ts'
import { asRoot, type Privilege } from '../system/privilege.ts'

/** All that the platform left on this machine, found without its settings: teardown has to work where those are broken. */
export interface Leftovers {
  /** What undoing the journal would do, in the order of doing. */
  changes: Undone[]
  containers: string[]
  networks: string[]
  volumes: string[]
  /** Nodes of our own KinD cluster. */
  nodes: string[]
  /** Why the engine could not be asked, where containers were started from here: they come back with it. */
  unseen: string | undefined
}

/** Looks for what is left. Throws for a journal that cannot be read. */
export async function leftovers(paths: Paths): Promise<Leftovers> {
  const journal = openJournal({ stateDir: paths.stateDir, privilege: asRoot, scope: '' })
  const ours = `label=com.docker.compose.project=${await renderedProject(paths)}`
  const cluster = await clusterName(paths)
  const [changes, unseen, containers, networks, volumes, nodes] = await Promise.all([
    journal.undo({ dryRun: true }),
    whyUnseen(paths),
    dockerNames(['ps', '--all', '--filter', ours, '--format', '{{.Names}}']),
    dockerNames(['network', 'ls', '--filter', ours, '--format', '{{.Name}}']),
    dockerNames(['volume', 'ls', '--filter', ours, '--format', '{{.Name}}']),
    cluster === undefined
      ? []
      : dockerNames(['ps', '--all', '--filter', `label=io.x-k8s.kind.cluster=${cluster}`, '--format', '{{.Names}}']),
  ])
  return { changes, containers, networks, volumes, nodes, unseen }
}

/** What was found, as lines for a person. */
export function describeLeftovers(found: Leftovers, { volumes }: { volumes: boolean }): string[] {
  return [
    ...(found.unseen === undefined ? [] : [`containers, networks and volumes: not seen, ${found.unseen}`]),
    ...found.nodes.map(name => `cluster node ${name}: to be removed, with all that runs in it`),
    ...found.containers.map(name => `container ${name}: to be removed`),
    ...found.networks.map(name => `network ${name}: to be removed`),
    ...found.volumes.map(
      name => `volume ${name}: ${volumes ? 'to be deleted, with its data' : 'kept (--volumes deletes it)'}`,
    ),
    ...found.changes
      .filter(({ outcome }) => outcome !== 'was so already')
      .map(({ what, outcome }) => `${what}: ${intended(outcome)}`),
  ]
}

function intended(outcome: Undone['outcome']): string {
  if (/^(left|failed)/.test(outcome)) return outcome
  if (outcome === 'done') return 'to be run'
  return outcome === 'our part removed' ? 'our part to be removed' : `to be ${outcome}`
}

/**
 * Stops and removes containers and networks, and with `volumes` the data. Gives what could not be removed, in the engine's words: a network
 * that somebody else's container uses must not keep the rest of the machine from going back.
 */
export async function removeContainers(found: Leftovers, { volumes }: { volumes: boolean }): Promise<string[]> {
  const { containers, networks } = found
  // stopped first, all at once: databases write down what they have
  if (containers.length > 0) await run(['docker', 'stop', ...containers])
  const problems: string[] = []
  for (const [command, names] of [
    [['docker', 'rm', '--force', '--volumes'], containers],
    [['docker', 'network', 'rm'], networks],
    [['docker', 'volume', 'rm'], volumes ? found.volumes : []],
  ] as const) {
    if (names.length === 0) continue
    const { exitCode, stderr } = await ask([...command, ...names])
    if (exitCode !== 0) problems.push(stderr.trim())
  }
  return problems
}

/** Takes back everything in the journal, latest first; `report` hears of each. */
export async function takeBack(
  paths: Paths,
  privilege: Privilege,
  report: (undone: Undone) => void,
): Promise<Undone[]> {
  return openJournal({ stateDir: paths.stateDir, privilege, scope: '' }).undo({ report })
}

/** Deletes the state folder, and with `purge` the settings. Some of it may belong to root, so it is deleted as root where need be. */
export async function removeState(
  paths: Paths,
  purge: boolean,
  privilege: Privilege,
): Promise<'unchanged' | 'removed'> {
  const before = await stat(paths.stateDir).catch(() => undefined)
  const remove = (path: string) =>
    rm(path, { recursive: true, force: true }).catch(() => privilege.run(['rm', '-rf', path]))
  // first, because without the journal beside it, it would say that records were lost
  await remove(journalFile(paths.stateDir).begunPath)
  await remove(paths.stateDir)
  if (purge) await rm(paths.envFile, { force: true })
  return before === undefined && !purge ? 'unchanged' : 'removed'
}

// our kubeconfig is there for as long as our cluster is, and names it; before that, a mark says that kind was at work on kind.yaml
async function clusterName({ stateDir }: Paths): Promise<string | undefined> {
  const text = (...path: string[]) => readFile(join(stateDir, ...path), 'utf8').catch(() => undefined)
  const named = /^current-context: kind-(\S+)$/m.exec((await text('kubeconfig')) ?? '')?.[1]
  if (named !== undefined || (await text('cluster', 'unfinished')) === undefined) return named
  return /^name: (\S+)$/m.exec((await text('cluster', 'kind.yaml')) ?? '')?.[1]
}

async function whyUnseen(paths: Paths): Promise<string | undefined> {
  if (!(await hasRenderedFiles(paths)) || !(await hasTool('docker'))) return undefined
  return engineVersion().then(() => undefined, messageOf)
}

async function dockerNames(words: readonly string[]): Promise<string[]> {
  try {
    const { exitCode, stdout } = await ask(['docker', ...words], { timeoutMs: engineTimeoutMs })
    return exitCode === 0 ? stdout.split('\n').filter(Boolean) : []
  } catch {
    return [] // no engine on this machine, or `unseen` tells of it
  }
}
