import { $, type Shell } from '../system/exec.ts'
import { engine, engineTimeout } from './engine.ts'

/** A container, network or volume of this machine's engine, whoever made it. */
export interface Thing {
  kind: 'container' | 'network' | 'volume'
  /** The engine's id; of a volume, which has none, its name. */
  id: string
  name: string
  /** Compose project it belongs to; empty for none. */
  project: string
  /** Folder that project was started from; empty where the engine does not know. */
  folder: string
  /** Id of the installation of the platform that created it; empty for none. */
  installation: string
  created: Date | undefined
  /** A container of `compose run`. */
  isOneOff: boolean
  /** Networks and volumes that a container uses, by name. */
  uses: readonly string[]
}

const label = (name: string) => `(.Label "${name}")`
const project = label('com.docker.compose.project')
const folder = label('com.docker.compose.project.working_dir')
const oneOff = label('com.docker.compose.oneoff')
const installation = label('io.macula.installation')

/** One JSON list a line: no label, whatever stands in it, can look like another field. */
const formatOf = (...fields: readonly string[]) => `[${fields.map(field => `{{json ${field}}}`).join(',')}]`

/** Every container of the engine, running or not. */
export async function allContainers(shell: Shell = $): Promise<Thing[]> {
  const format = formatOf('.ID', '.Names', project, installation, '.CreatedAt', folder, oneOff, '.Networks', '.Mounts')
  const { stdout } = await engine(shell)`docker ps --all --no-trunc --format ${format}`
  return rowsOf(stdout).map(([id, name, project, installation, created, folder, oneOff, networks, mounts]) => ({
    ...{ kind: 'container' as const, id, project, folder, installation, created: dateOf(created) },
    name: name.split(',')[0] ?? name,
    isOneOff: oneOff === 'True',
    uses: [...networks.split(','), ...mounts.split(',')].filter(Boolean),
  }))
}

/** Every network of the engine. */
export async function allNetworks(shell: Shell = $): Promise<Thing[]> {
  const format = formatOf('.ID', '.Name', project, installation, '.CreatedAt')
  const { stdout } = await engine(shell)`docker network ls --no-trunc --format ${format}`
  return rowsOf(stdout).map(([id, name, project, installation, created]) => ({
    ...{ kind: 'network' as const, id, name, project, installation, created: dateOf(created) },
    ...{ folder: '', isOneOff: false, uses: [] },
  }))
}

/** Every volume of the engine; those that `dated` chooses with the time of their creation, which has to be asked for one by one. */
export async function allVolumes(shell: Shell = $, dated: (volume: Thing) => boolean = () => false): Promise<Thing[]> {
  const { stdout } = await engine(shell)`docker volume ls --format ${formatOf('.Name', project, installation)}`
  const volumes = rowsOf(stdout).map(([name, project, installation]) => ({
    ...{ kind: 'volume' as const, id: name, name, project, installation, created: undefined },
    ...{ folder: '', isOneOff: false, uses: [] },
  }))
  const wanted = volumes.filter(dated).map(({ name }) => name)
  if (wanted.length === 0) return volumes
  // exits with 1 when one of them is gone meanwhile, and prints the others all the same
  const options = { nothrow: true, timeout: engineTimeout } as const
  const inspected = await shell(
    options,
  )`docker volume inspect --format ${'[{{json .Name}},{{json .CreatedAt}}]'} ${wanted}`
  const created = new Map(rowsOf(inspected.stdout).map(([name, text]) => [name, dateOf(text)]))
  return volumes.map(volume => ({ ...volume, created: created.get(volume.name) }))
}

/**
 * Removes things by their ids: containers with their anonymous volumes, then networks, then volumes with all data. Tries all, and then throws
 * with what the engine refused: a network that somebody else's container is on must not keep the data from going.
 */
export async function removeThings(things: readonly Thing[], shell: Shell = $): Promise<'removed'> {
  const idsOf = (kind: Thing['kind']) => things.filter(thing => thing.kind === kind).map(({ id }) => id)
  const [containers, networks, volumes] = [idsOf('container'), idsOf('network'), idsOf('volume')]
  const run = shell({ timeout: '2m' })
  const failures: unknown[] = []
  const note = (error: unknown) => failures.push(error)
  if (containers.length > 0) await run`docker rm --force --volumes ${containers}`.catch(note)
  if (networks.length > 0) await run`docker network rm ${networks}`.catch(note)
  if (volumes.length > 0) await run`docker volume rm ${volumes}`.catch(note)
  if (failures.length > 0) throw failures[0]
  return 'removed'
}

/** Fields as text, in the order of the format; a row has no more than the format names. */
type Row = [string, string, string, string, string, string, string, string, string]

function rowsOf(stdout: string): Row[] {
  return stdout
    .split('\n')
    .filter(line => line.startsWith('['))
    .map(line => JSON.parse(line))
}

// `2026-11-26 14:32:48 +0000 UTC`, with fractions for a network; RFC 3339 for a volume
function dateOf(text: string): Date | undefined {
  const [, day, time, zone = 'Z'] =
    /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.\d+)? ?([+-]\d\d:?\d\d|Z)?/.exec(text) ?? []
  return day === undefined ? undefined : new Date(`${day}T${time}${zone.replace(/(\d\d)(\d\d)$/, '$1:$2')}`)
}
