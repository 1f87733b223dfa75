import { mkdir, readdir, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Platform } from '../platform/platform.ts'
import { hashOf, writeIfChanged } from '../platform/render.ts'
import type { Settings } from '../platform/settings.ts'
import { buildEnvironment } from '../stack/compose.ts'
import { root } from '../system/checkout.ts'
import { badInput, PlatformError, type Problem } from '../system/errors.ts'
import { ask, lastLines, type Result } from '../system/exec.ts'
import { exists } from '../system/files.ts'
import { applicationNames, clusterFolder, clusterOf } from './cluster.ts'
import { digestOf, tagInRegistry } from './image-registry.ts'

/** The image of one application, as it was built and pushed last. */
export interface BuiltImage {
  application: string
  /** `localhost:5001/macula/console` */
  repository: string
  /** Names this very image. */
  tag: string
  /** What the registry calls it, and what is deployed. */
  digest: string
}

/** What a build was made of, remembered beside its result. */
interface BuildRecord extends BuiltImage {
  source: string
  fingerprint: string
}

export interface BuildOutcome {
  application: string
  image: BuiltImage
  outcome: 'unchanged' | 'created' | 'updated'
  /** Digest that was deployed before; undefined the first time. */
  before: string | undefined
}

const bundled = join(root, 'templates', 'applications', 'placeholder')

/** Source folder of every application: from the settings, else the bundled placeholder. Throws where one is not there, naming all. */
export async function sourcesOf(platform: Platform): Promise<{ application: string; folder: string }[]> {
  const sources: { application: string; folder: string }[] = []
  const problems: Problem[] = []
  for (const application of applicationNames(platform)) {
    const setting = `${application.toUpperCase().replaceAll('-', '_')}_SOURCE`
    const value = platform.settings[setting as keyof Settings]
    const folder = value ? resolve(root, value) : bundled
    if (!(await exists(join(folder, 'Dockerfile'))))
      problems.push({
        where: setting,
        what: `${folder} ${(await exists(folder)) ? 'has no Dockerfile' : 'does not exist'}`,
      })
    sources.push({ application, folder })
  }
  if (problems.length > 0)
    throw badInput(
      'Not every application has a source to build from',
      problems,
      'Correct .env, or leave the setting empty for the placeholder',
    )
  return sources
}

/**
 * A hash over what a source folder holds: paths, sizes, times and modes of all files but git's own. Reading all contents of a real application
 * would take longer than Docker's own cache needs to find that nothing changed.
 */
export async function fingerprintOf(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const lines = await Promise.all(
    entries
      .filter(entry => !entry.isDirectory())
      .map(entry => join(entry.parentPath, entry.name))
      .filter(path => !path.slice(folder.length).startsWith('/.git/'))
      .map(async path => {
        const { size, mtimeMs, mode } = await stat(path).catch(() => ({ size: 0, mtimeMs: 0, mode: 0 }))
        return `${path.slice(folder.length)} ${size} ${mtimeMs} ${mode}`
      }),
  )
  return hashOf(folder, ...lines.sort())
}

/**
 * Builds an application's image and pushes it, where its source has changed or the registry does not have it any more.
 * The image is tagged with a name of its content beside `dev`. Throws with the build's last lines and exit code.
 */
export async function buildAndPush(
  platform: Platform,
  { application, folder }: { application: string; folder: string },
  report: (phase: string) => void = () => {},
): Promise<BuildOutcome> {
  const cluster = clusterOf(platform)
  const repository = `${cluster.imagePrefix}/${application}`
  const record = await readRecord(platform, application)
  const fingerprint = await fingerprintOf(folder)
  if (
    record?.fingerprint === fingerprint &&
    record.repository === repository &&
    (await digestOf(platform, record.repository, record.tag)) === record.digest
  )
    return { application, image: record, outcome: 'unchanged', before: record.digest }

  report('building')
  const id = await build(platform, application, folder, `${repository}:dev`)
  const tag = id.replace(/^sha256:/, '').slice(0, 16)
  let digest = await digestOf(platform, repository, tag)
  if (digest === undefined || digest !== (await digestOf(platform, repository, 'dev'))) {
    report('pushing')
    await push(`${repository}:dev`)
    await tagInRegistry(platform, repository, 'dev', tag)
    digest = await digestOf(platform, repository, tag)
  }
  if (digest === undefined)
    throw new PlatformError(`${repository}:${tag} was pushed, but the registry does not have it`, {
      hint: 'task logs -- registry',
    })
  const image = { application, repository, tag, digest }
  await writeRecord(platform, { ...image, source: folder, fingerprint })
  const outcome = record === undefined ? 'created' : record.digest === digest ? 'unchanged' : 'updated'
  return { application, image, outcome, before: record?.digest }
}

/** Builds with BuildKit and returns the id of the result. */
async function build(platform: Platform, application: string, folder: string, image: string): Promise<string> {
  const idFile = join(clusterFolder(platform), 'build', `${application}.id`)
  const logFile = buildLog(platform, application)
  await mkdir(join(clusterFolder(platform), 'build'), { recursive: true })
  // an attestation would make each build another image although nothing in it has changed
  const command = [
    ...['docker', 'build', '--progress', 'plain', '--provenance=false', '--iidfile', idFile],
    ...['--tag', image, folder],
  ]
  const result = await ask(command, { env: { DOCKER_BUILDKIT: '1', ...buildEnvironment(platform.paths) } })
  await writeIfChanged(logFile, result.stdout + result.stderr)
  if (result.exitCode !== 0) throw buildFailure(application, folder, result, logFile)
  return (await readFile(idFile, 'utf8')).trim()
}

function buildFailure(application: string, folder: string, result: Result, logFile: string): PlatformError {
  const ended = brokenStep(result.stderr) ?? `docker build ended with exit code ${result.exitCode}`
  return new PlatformError(`The image of ${application} could not be built from ${folder}: ${ended}`, {
    why: lastLines(result.stderr, 20),
    hint: `less ${logFile}   # everything the build said`,
  })
}

/** What a RUN of a Dockerfile ended with, in words; undefined where a build failed of something else. docker's own exit code is 1 for all of them. */
export function brokenStep(said: string): string | undefined {
  // ERROR: failed to build: failed to solve: process "/bin/sh -c npm run build" did not complete successfully: exit code: 7
  const [, command, code] =
    /process "(?:\/bin\/sh -c )?(.*)" did not complete successfully: exit code: (\d+)/.exec(said) ?? []
  return command === undefined ? undefined : `\`${command}\` ended with exit code ${code}`
}

async function push(image: string): Promise<void> {
  const result = await ask(['docker', 'push', '--quiet', image])
  if (result.exitCode === 0) return
  throw new PlatformError(`${image} could not be pushed`, {
    why: lastLines(result.stderr, 4),
    hint:
      image.startsWith('localhost:') || image.startsWith('127.')
        ? 'task start-infrastructure   # starts the registry'
        : 'docker login',
  })
}

/** Where the last build's output of an application is kept. */
export function buildLog(platform: Platform, application: string): string {
  return join(clusterFolder(platform), 'build', `${application}.log`)
}

/** What was built and pushed last for this application, if anything. */
export async function builtImage(platform: Platform, application: string): Promise<BuiltImage | undefined> {
  const record = await readRecord(platform, application)
  return record?.repository.startsWith(`${clusterOf(platform).imagePrefix}/`) ? record : undefined
}

function recordFile(platform: Platform, application: string): string {
  return join(clusterFolder(platform), 'images', `${application}.json`)
}

async function readRecord(platform: Platform, application: string): Promise<BuildRecord | undefined> {
  const text = await readFile(recordFile(platform, application), 'utf8').catch(() => undefined)
  return text === undefined ? undefined : (JSON.parse(text) as BuildRecord)
}

async function writeRecord(platform: Platform, record: BuildRecord): Promise<void> {
  await writeIfChanged(recordFile(platform, record.application), `${JSON.stringify(record, null, 2)}\n`)
}
