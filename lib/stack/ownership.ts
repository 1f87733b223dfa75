import { realpath } from 'node:fs/promises'
import {
  ensureInstallation,
  forgetOwned,
  type Installation,
  isOurId,
  isRecorded,
  readInstallation,
  recordOwned,
  restoreInstallation,
} from '../platform/installation.ts'
import type { Platform } from '../platform/platform.ts'
import type { Paths, Settings } from '../platform/settings.ts'
import { PlatformError } from '../system/errors.ts'
import { $, type Shell } from '../system/exec.ts'
import { elapsed } from '../system/text.ts'
import { allContainers, allNetworks, allVolumes, type Thing } from './things.ts'

/** What has our names on this machine and was not created by this installation. */
export interface NotOurs {
  /** Containers, networks and volumes of this checkout, from before it had an id or from before it lost it: `--adopt` takes them over. */
  adoptable: Thing[]
  /** Somebody else's. */
  foreign: Thing[]
}

/** What is needed to tell ours from others': the project's name, and where the id is kept. */
type Named = { settings: Pick<Settings, 'MACULA_PROJECT'>; paths: Pick<Paths, 'stateDir'> }

/**
 * Whether this installation created a thing, or took it over: it has our label, or stands in our record with its id. Its name, and that of its
 * Compose project, prove nothing: any folder of that name gives its project the same one.
 */
export function isOurs(thing: Thing, installation: Installation | undefined): boolean {
  return isOurId(installation, thing.installation) || isRecorded(installation, thing.kind, keyOf(thing))
}

/** Everything of ours in the engine, whatever the settings say by now. Throws where the engine does not answer. */
export async function ownThings(paths: Pick<Paths, 'stateDir'>, shell: Shell = $): Promise<Thing[]> {
  return (await readInstallation(paths)) === undefined ? [] : (await thingsByOwner(paths, '', shell)).own
}

/** Everything of ours in the engine, and what a Compose project of that name has beside it. Throws where the engine does not answer. */
export async function thingsByOwner(
  paths: Pick<Paths, 'stateDir'>,
  project: string,
  shell: Shell = $,
): Promise<{ own: Thing[]; others: Thing[] }> {
  const installation = await readInstallation(paths)
  const recorded = installation === undefined ? new Set() : namesIn(installation, 'volume')
  const things = await Promise.all([
    allContainers(shell),
    allNetworks(shell),
    allVolumes(shell, ({ name }) => recorded.has(name)),
  ])
  const own = things.flat().filter(thing => isOurs(thing, installation))
  const others = things.flat().filter(thing => project !== '' && thing.project === project && !own.includes(thing))
  return { own, others }
}

/** Ids of our containers. Throws for one that has our project's name and is not ours: Compose would treat it as ours. */
export async function requireOwnContainers({ settings, paths }: Named, shell: Shell = $): Promise<string[]> {
  const [installation, containers] = await Promise.all([readInstallation(paths), allContainers(shell)])
  const named = containers.filter(({ project }) => project === settings.MACULA_PROJECT)
  const others = named.filter(container => !isOurs(container, installation))
  if (others.length > 0) throw ownershipError(await divided(others, containers, paths), settings.MACULA_PROJECT)
  return named.filter(({ isOneOff }) => !isOneOff).map(({ id }) => id)
}

/** Looks for containers, networks and volumes that have the names of ours and are not ours. Changes nothing. */
export async function findNotOurs(platform: Platform, shell: Shell = $): Promise<NotOurs> {
  const { settings, paths } = platform
  const wanted = namesOf(platform)
  const [installation, containers, networks, volumes] = await Promise.all([
    readInstallation(paths),
    allContainers(shell),
    allNetworks(shell),
    allVolumes(shell, ({ name }) => wanted.volume.has(name)),
  ])
  const others = [
    ...containers.filter(({ name, project }) => project === settings.MACULA_PROJECT || wanted.container.has(name)),
    ...networks.filter(({ name }) => wanted.network.has(name)),
    ...volumes.filter(({ name }) => wanted.volume.has(name)),
  ].filter(thing => !isOurs(thing, installation))
  return divided(others, containers, paths)
}

/** Throws, naming each with the ways out, where something has the names of ours and is not ours. */
export async function requireOwnership(platform: Platform, shell: Shell = $): Promise<void> {
  const found = await findNotOurs(platform, shell)
  if (found.adoptable.length + found.foreign.length > 0) throw ownershipError(found, platform.settings.MACULA_PROJECT)
}

/**
 * Takes over what an earlier release of this checkout created, or what is left after its state folder was deleted. Their own id, if
 * they have one, becomes ours again; what has none is recorded, since the engine cannot label it any more.
 */
export async function adopt({ paths }: Pick<Platform, 'paths'>, { adoptable }: NotOurs): Promise<void> {
  const ids = [...new Set(adoptable.map(({ installation }) => installation).filter(Boolean))]
  for (const id of ids) await restoreInstallation(paths, id)
  for (const thing of adoptable) if (thing.installation === '') await recordOwned(paths, thing.kind, [keyOf(thing)])
}

/** Our installation, with the records of what is gone removed: something of that name created from now on is labelled like all else. */
export async function settleInstallation(paths: Paths, shell: Shell = $): Promise<Installation> {
  let installation = await ensureInstallation(paths)
  const kinds = (['container', 'network', 'volume'] as const).filter(kind => installation.owned[kind]?.length)
  if (kinds.length === 0) return installation
  const keys = new Set((await ownThings(paths, shell)).map(keyOf))
  for (const kind of kinds) {
    const gone = installation.owned[kind]?.filter(key => !keys.has(key)) ?? []
    installation = await forgetOwned(paths, kind, gone)
  }
  return installation
}

/** Names of networks or volumes that were taken over without a label: another label would make Compose want to create them anew. */
export function namesIn(installation: Installation, kind: 'network' | 'volume'): Set<string> {
  return new Set(installation.owned[kind]?.map(key => key.slice(0, key.lastIndexOf('@'))))
}

/** One line about a thing, for a person. */
export function describeThing({ kind, name, project, folder, created }: Thing, now = new Date()): string {
  const where = folder ? `, started from ${folder}` : ''
  return `${kind} ${name}: ${project ? `Compose project ${project}` : 'no Compose project'}${where}${created ? `, created ${elapsed(created, now)} ago` : ''}`
}

/** The error that names what is not ours, with the two ways out: other names for ours, or the command that removes theirs. */
export function ownershipError({ adoptable, foreign }: NotOurs, project: string): PlatformError {
  const ways = (things: readonly Thing[]) =>
    (
      [
        ['container', 'docker rm --force'],
        ['network', 'docker network rm'],
        ['volume', 'docker volume rm'],
      ] as const
    ).flatMap(([kind, command]) => {
      const names = things.filter(thing => thing.kind === kind).map(({ name }) => name)
      return names.length > 0 ? [`${command} ${names.join(' ')}`] : []
    })
  const lines = [...foreign, ...adoptable].map(thing => describeThing(thing))
  if (foreign.length === 0)
    return new PlatformError(`${counted(adoptable)} of this checkout, created before it had its present id`, {
      why: lines.join('\n'),
      hint: 'task start-infrastructure -- --adopt   # takes them over, after a prompt',
    })
  return new PlatformError(`${counted(foreign)} with the names of ours, not created by this installation`, {
    why: lines.join('\n'),
    hint: [
      `MACULA_PROJECT=${project}-platform in .env   # gives ours other names`,
      `or remove theirs, with all that is in them: ${ways(foreign).join('; ')}`,
      ...(adoptable.length > 0 ? ['then take over your own: task start-infrastructure -- --adopt'] : []),
    ].join('\n'),
  })
}

/** What the record calls a thing: its id, with its name where Compose goes by that. A later one of that name has another. */
function keyOf({ kind, id, name, created }: Thing): string {
  return kind === 'container' ? id : `${name}@${kind === 'network' ? id : (created?.toISOString() ?? '')}`
}

/** Tells those of this checkout from somebody else's: only containers say where they come from, the rest is theirs by its use or its label. */
async function divided(
  others: readonly Thing[],
  containers: readonly Thing[],
  paths: Pick<Paths, 'stateDir'>,
): Promise<NotOurs> {
  const folders = [paths.stateDir, await realpath(paths.stateDir).catch(() => paths.stateDir)]
  const proven = containers.filter(({ project, folder }) => project !== '' && folders.includes(folder))
  const ids = new Set(proven.map(({ installation }) => installation).filter(Boolean))
  const used = new Set(proven.flatMap(({ uses }) => uses))
  const isAdoptable = (thing: Thing) =>
    thing.kind === 'container'
      ? proven.some(({ id }) => id === thing.id)
      : thing.installation === ''
        ? used.has(thing.name)
        : ids.has(thing.installation)
  return { adoptable: others.filter(isAdoptable), foreign: others.filter(thing => !isAdoptable(thing)) }
}

/** The names that Compose gives to what our files describe. */
function namesOf({ composeFiles, compose, described, settings }: Platform): Record<Thing['kind'], Set<string>> {
  const names = (key: 'networks' | 'volumes') =>
    composeFiles.flatMap(({ content }) =>
      Object.entries((content[key] ?? {}) as Record<string, { name?: string; external?: unknown } | null>).flatMap(
        ([name, described]) => (described?.external ? [] : [described?.name ?? `${settings.MACULA_PROJECT}_${name}`]),
      ),
    )
  return {
    container: new Set(
      [...described].map(
        ([name, { containerName }]) =>
          containerName ?? compose.additions.get(name)?.container_name ?? `${settings.MACULA_PROJECT}-${name}-1`,
      ),
    ),
    network: new Set(names('networks')),
    volume: new Set(names('volumes')),
  }
}

function counted(things: readonly Thing[]): string {
  const [first] = things
  return things.length === 1
    ? `There is a ${first?.kind}`
    : `There are ${things.length} containers, networks or volumes`
}
