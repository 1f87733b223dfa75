import { readdir } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { pathsOf } from '../../lib/platform/settings.ts'
import { engineBuild, programBuild } from '../../lib/sandbox/programs.ts'
import { ensureBuilt, folderName } from '../../lib/supply/cache.ts'
import { type DebianPackage, machineSuite, unpackPackages } from '../../lib/supply/debian.ts'
import { messageOf } from '../../lib/system/errors.ts'
import { firstThatExists } from '../../lib/system/files.ts'
import { ask } from './run.ts'

/** A program that judges files, or the reason why there is none. */
export type Validator =
  | { program: string; folder: string; env: Record<string, string>; skip: false }
  | { program: ''; folder: ''; env: Record<string, string>; skip: string }

/** Programs of Debian packages, unpacked into the cache where they are not installed; 22 MB the first time. */
const packages = ['nginx', 'nginx-common', 'prometheus', 'pdns-server', 'pdns-backend-pgsql', 'libluajit-5.1-2']

/** `program` of this machine, or of Debian's packages on a machine that can unpack them. */
export async function debianValidator(program: string): Promise<Validator> {
  const installed = await onPath(program)
  if (installed !== undefined) return { program: installed, folder: '/', env: {}, skip: false }
  const folder = await unpacked().catch(error => messageOf(error))
  const found = await firstThatExists(['usr/sbin', 'usr/bin'].map(bin => join(folder, bin, program)))
  if (found === undefined) return missing(`${program} is not installed, and Debian's package cannot be had: ${folder}`)
  const env = { LD_LIBRARY_PATH: await libraryFolders(folder) }
  const { exitCode, stderr } = await ask([found, program === 'nginx' ? '-v' : '--version'], { env })
  // pdns_server ends with 99 where it only says its version
  return exitCode === 0 || exitCode === 99
    ? { program: found, folder, env, skip: false }
    : missing(`${program} does not run here: ${stderr}`)
}

/** `path` of something that a sandbox run before has built by today's recipe; not built here, because that takes minutes. */
export async function builtValidator(name: string, path: string): Promise<Validator> {
  const { cacheDir } = pathsOf()
  const built = join(cacheDir, 'built')
  const folder = folderName(name === engineBuild.name ? engineBuild : await programBuild(name, { cacheDir }))
  const found = await firstThatExists([join(built, folder, path)])
  return found === undefined
    ? missing(`${path} has not been built yet; a sandbox run does it`)
    : { program: found, folder: built, env: {}, skip: false }
}

/** Folder with PostgreSQL's programs, which distributions keep out of PATH. */
export async function postgresPrograms(): Promise<string | undefined> {
  const versions = await readdir('/usr/lib/postgresql').catch(() => [])
  return firstThatExists(versions.sort().map(version => `/usr/lib/postgresql/${version}/bin`))
}

function missing(skip: string): Validator {
  return { program: '', folder: '', env: {}, skip }
}

async function unpacked(): Promise<string> {
  const suite = await machineSuite()
  const wanted: DebianPackage[] = packages.map(name => ({ name, suite }))
  return ensureBuilt(
    { name: 'validators', inputs: wanted, build: (folder, note) => unpackPackages(wanted, folder, note) },
    { cacheDir: pathsOf().cacheDir },
  )
}

async function libraryFolders(folder: string): Promise<string> {
  const libraries = join(folder, 'usr/lib')
  const names = await readdir(libraries)
  return names
    .filter(name => name.endsWith('-linux-gnu'))
    .map(name => join(libraries, name))
    .join(':')
}

async function onPath(program: string): Promise<string | undefined> {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin']
  return firstThatExists(folders.map(folder => join(folder, program)))
}
