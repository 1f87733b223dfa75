import { readdir, realpath, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { madeNetwork } from '../cluster/network.ts'
import { recordedNodes } from '../cluster/ownership.ts'
import { openJournal, type Undone } from '../journal/journal.ts'
import { journalFile } from '../journal/journal-file.ts'
import { describeUndone } from '../journal/undo.ts'
import { installationFile, readInstallation } from '../platform/installation.ts'
import type { Paths } from '../platform/settings.ts'
import { requireStateFolder } from '../platform/state-folder.ts'
import { hasRenderedFiles, renderedProject } from '../stack/compose.ts'
import { engineVersion } from '../stack/engine.ts'
import { describeThing, thingsByOwner } from '../stack/ownership.ts'
import { removeThings, type Thing } from '../stack/things.ts'
import { messageOf } from '../system/errors.ts'
import { $, hasTool } from '../system/exec.ts'
import { exists } from '../system/files.ts'
import { asRoot, type Privilege } from '../system/privilege.ts'

/** All that the platform left on this machine, found without its settings: teardown has to work where those are broken. */
export interface Leftovers {
  /** What undoing the journal would do, in the order of doing. */
  changes: Undone[]
  /** What this installation created in the engine, or took over. */
  containers: Thing[]
  networks: Thing[]
  volumes: Thing[]
  /** What has the name of our Compose project and is not ours: it is named, and left. */
  others: Thing[]
  /** Nodes of our own KinD cluster. */
  nodes: string[]
  /** The network that kind made for them. */
  clusterNetwork: string | undefined
  /** Files and folders of our own. */
  files: string[]
  /** Why the engine does not answer, where containers were started from here: they come back with it. */
  unseen: string | undefined
}

export interface TeardownOptions {
  /** Delete the data of the services, too. */
  volumes: boolean
  /** Delete the settings, too. */
  purge: boolean
}

/** Looks for what is left. Throws for a journal that cannot be read, and for a state folder that is not ours alone. */
export async function leftovers(paths: Paths, { purge }: TeardownOptions): Promise<Leftovers> {
  await requireStateFolder(paths.stateDir)
  const journal = openJournal({ stateDir: paths.stateDir, privilege: asRoot, scope: '' })
  const changes = await journal.undo({ dryRun: true })
  const project = await renderedProject(paths)
  const [notAnswering, nodes] = await Promise.all([
    whyUnseen(paths),
    recordedNodes(paths).then(
      found => found.map(({ name }) => name),
      () => [], // no engine on this machine, or `unseen` tells of it
    ),
  ])
  const none = { own: [], others: [], unseen: notAnswering }
  const { own, others, unseen } = (await engineAnswers())
    ? await thingsByOwner(paths, project).then(
        things => ({ ...things, unseen: notAnswering }),
        error => ({ ...none, unseen: messageOf(error) }),
      )
    : none
  const ofKind = (kind: Thing['kind']) => own.filter(thing => thing.kind === kind)
  const [containers, networks, volumes] = [ofKind('container'), ofKind('network'), ofKind('volume')]
  const files = [paths.stateDir, ...(purge ? [paths.envFile] : [])]
  const there = await Promise.all(files.map(exists))
  return {
    ...{ changes, containers, networks, volumes, others, nodes, unseen },
    clusterNetwork: await madeNetwork(paths),
    files: files.filter((_, index) => there[index]),
  }
}

/** What was found, as lines for a person. */
export function describeLeftovers(found: Leftovers, { volumes }: Pick<TeardownOptions, 'volumes'>): string[] {
  return [
    ...(found.unseen === undefined ? [] : [`containers, networks and volumes: not seen, ${found.unseen}`]),
    ...found.nodes.map(name => `cluster node ${name}: to be removed, with all that runs in it`),
    ...[...found.containers, ...found.networks].map(({ kind, name }) => `${kind} ${name}: to be removed`),
    ...(found.clusterNetwork === undefined
      ? []
      : [`network ${found.clusterNetwork}: to be removed, unless another cluster uses it`]),
    ...found.volumes.map(
      ({ name }) => `volume ${name}: ${volumes ? 'to be deleted, with its data' : 'kept (--volumes deletes it)'}`,
    ),
    ...found.others.map(thing => `${describeThing(thing)}: left, not created by this installation`),
    ...found.changes
      .filter(({ outcome }) => outcome !== 'unchanged')
      .map(undone => `${undone.what}: ${intended(undone)}`),
    ...found.files.map(path => `${path}: to be deleted`),
  ]
}

function intended(undone: Undone): string {
  switch (undone.outcome) {
    case 'kept':
    case 'failed':
      return describeUndone(undone)
    case 'our part removed':
      return 'our part to be removed'
    default:
      return `to be ${undone.outcome}`
  }
}

/** Throws where what is undone could not be marked in the journal; to be called before anything is undone. */
export async function requireWritableJournal({ stateDir }: Paths): Promise<void> {
  await journalFile(stateDir).requireWritable()
}

/** Stops containers, all at once, so that databases write down what they have, and removes them. Throws with the engine's words. */
export async function removeContainers(containers: readonly Thing[]): Promise<'removed'> {
  // one that cannot be stopped is killed by the next command
  await $({ nothrow: true, timeout: '2m' })`docker stop ${containers.map(({ id }) => id)}`
  return removeThings(containers)
}

/** Undoes everything in the journal, latest first; `report` is told of each. */
export async function undoChanges(
  paths: Paths,
  privilege: Privilege,
  report: (undone: Undone) => void,
): Promise<Undone[]> {
  return openJournal({ stateDir: paths.stateDir, privilege, scope: '' }).undo({ report })
}

/**
 * Deletes the state folder, and with `purge` the settings. Some of it may belong to root, so it is deleted as root where need be. With `keepId` the
 * file with our id stays: it proves that the volumes which were kept are ours.
 */
export async function removeState(
  paths: Paths,
  { purge, keepId }: Pick<TeardownOptions, 'purge'> & { keepId: boolean },
  privilege: Privilege,
): Promise<'unchanged' | 'removed'> {
  const before = await readdir(paths.stateDir).catch(() => undefined)
  await requireStateFolder(paths.stateDir)
  const remove = (path: string) =>
    rm(path, { recursive: true, force: true }).catch(() => privilege.$`rm -rf -- ${path}`.then(() => {}))
  // first, because without the journal beside it, it would say that records were lost
  await remove(journalFile(paths.stateDir).begunPath)
  const inside = (before ?? []).map(name => join(paths.stateDir, name))
  if (keepId) for (const path of inside.filter(path => path !== installationFile(paths))) await remove(path)
  else await remove(paths.stateDir)
  if (purge) await removeSettings(paths)
  return before === undefined && !purge ? 'unchanged' : 'removed'
}

// a link points to the file with the passwords
async function removeSettings({ envFile }: Paths): Promise<void> {
  const target = await realpath(envFile).catch(() => envFile)
  await rm(target, { force: true })
  await rm(envFile, { force: true })
}

async function whyUnseen(paths: Paths): Promise<string | undefined> {
  // DNS and routes make an installation, too, and need no engine
  const owned = Object.values((await readInstallation(paths))?.owned ?? {}).flat()
  const hasCreated = (await hasRenderedFiles(paths)) || owned.length > 0
  if (!hasCreated || !(await hasTool('docker'))) return undefined
  return engineVersion().then(() => undefined, messageOf)
}

async function engineAnswers(): Promise<boolean> {
  if (!(await hasTool('docker'))) return false
  return engineVersion().then(
    () => true,
    () => false,
  )
}
