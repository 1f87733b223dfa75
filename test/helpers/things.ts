import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

interface Listed {
  id: string
  name?: string
  project?: string
  folder?: string
  installation?: string
  created?: string
  oneOff?: boolean
  networks?: string
  mounts?: string
}

/** A line of `docker ps`, in the format that the platform uses. */
export function listedContainer({
  id,
  name = `macula-${id}`,
  project = 'macula',
  folder = '',
  installation = '',
  created = '2026-11-23 10:00:00 +0000 UTC',
  oneOff = false,
  networks = '',
  mounts = '',
}: Listed): string {
  const flag = oneOff ? 'True' : 'False'
  return `${JSON.stringify([id, name, project, installation, created, folder, flag, networks, mounts])}\n`
}

/** A line of `docker network ls`. */
export function listedNetwork({
  id,
  name = id,
  project = 'macula',
  installation = '',
  created = '2026-11-23 10:00:00.123456789 +0000 UTC',
}: Listed): string {
  return `${JSON.stringify([id, name, project, installation, created])}\n`
}

/** A line of `docker volume ls`. */
export function listedVolume({ id, project = 'macula', installation = '' }: Listed): string {
  return `${JSON.stringify([id, project, installation])}\n`
}

/** The id of `installedState`. */
export const ownId = '0123456789ab'

/** A state folder that has an id. */
export async function installedState(): Promise<{ stateDir: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'macula-state-'))
  const stateDir = join(folder, '.macula')
  await mkdir(stateDir)
  await writeFile(join(stateDir, 'installation.json'), JSON.stringify({ id: ownId, owned: {} }))
  return { stateDir, remove: () => rm(folder, { recursive: true }) }
}
