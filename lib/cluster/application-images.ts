import { readdir, readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { parse } from 'dotenv'
import type { Platform } from '../platform/platform.ts'
import { hashOf, writeIfChanged } from '../platform/render.ts'
import { buildEnvironment } from '../stack/compose.ts'
import { root } from '../system/checkout.ts'
import { badInput, PlatformError, type Problem } from '../system/errors.ts'
import { $, lastLines, type Result } from '../system/exec.ts'
import { ensureFolder, exists } from '../system/files.ts'
import { silentWork, stalledAfter } from '../system/stall.ts'
import { applicationNames, clusterFolder, clusterOf } from './cluster.ts'
import { digestOf, push, removeOldImages, tagInRegistry } from './image-registry.ts'

/** The image of one application, as it was last built and pushed. */
export interface BuiltImage {
  application: string
  /** `localhost:5001/macula/console` */
  repository: string
  /** Names this very image. */
  tag: string
  /** What the registry calls it, and what is deployed. */
  digest: string
}

/** What a build was made from, recorded beside its result. */
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

/** The setting that names an application's source folder: `MY_SHOP_SOURCE` for my-shop. */
export function sourceSetting(application: string): `${string}_SOURCE` {
  return `${application.toUpperCase().replaceAll('-', '_')}_SOURCE`
}

/** Source folder of every application: from the settings, else the bundled placeholder. Throws where one does not exist, naming all. */
export async function sourcesOf(platform: Platform): Promise<{ application: string; folder: string }[]> {
  const sources: { application: string; folder: string }[] = []
  const problems: Problem[] = []
  for (const application of applicationNames(platform)) {
    const setting = sourceSetting(application)
    const value = platform.settings[setting]
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

/** Settings of the user's file that name a source for an application there is not: left over, or misspelt. */
export async function unusedSources(platform: Platform): Promise<string[]> {
  const known = applicationNames(platform).map(sourceSetting)
  const text = await readFile(platform.paths.envFile, 'utf8').catch(() => '')
  return Object.entries(parse(text)).flatMap(([key, value]) =>
    /_SOURCE$/.test(key) && value !== '' && !known.includes(key as `${string}_SOURCE`) ? [key] : [],
  )
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
 * The image is tagged with a name of its content beside `dev`; of those, the newest REGISTRY_TAGS are kept. `builds` holds the ids of what is built in the same run, by source folder: from one
 * folder one image is built, since two builds side by side may differ in the times of their layers. Throws with the build's last lines and exit code.
 */
export async function buildAndPush(
  platform: Platform,
  { application, folder }: { application: string; folder: string },
  builds: Map<string, Promise<string>>,
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
  const building = builds.get(folder) ?? build(platform, application, folder, `${repository}:dev`)
  builds.set(folder, building)
  const id = await building
  await $`docker tag ${id} ${repository}:dev`
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
  await removeOldImages(platform, repository, Number(platform.settings.REGISTRY_TAGS))
  const image = { application, repository, tag, digest }
  await writeRecord(platform, { ...image, source: folder, fingerprint })
  const outcome = record === undefined ? 'created' : record.digest === digest ? 'unchanged' : 'updated'
  return { application, image, outcome, before: record?.digest }
}

/** Builds with BuildKit and returns the id of the result. */
async function build(platform: Platform, application: string, folder: string, image: string): Promise<string> {
  const idFile = join(clusterFolder(platform), 'build', `${application}.id`)
  const logFile = buildLog(platform, application)
  await ensureFolder(dirname(idFile))
  const env = { DOCKER_BUILDKIT: '1', ...buildEnvironment(platform.paths) }
  // an attestation would give each build another digest although nothing in it has changed
  const how = ['--progress', 'plain', '--provenance=false', '--iidfile', idFile]
  const steps = new BuildSteps()
  const limits = {
    onLine: (line: string) => steps.read(line),
    idle: () => (steps.isSilent() ? silentWork : stalledAfter),
  }
  const result = await $({ nothrow: true, env, ...limits })`docker build ${how} --tag ${image} ${folder}`
  await writeIfChanged(logFile, result.stdout + result.stderr)
  if (result.exitCode !== 0) throw buildFailure(application, folder, result, logFile)
  return (await readFile(idFile, 'utf8')).trim()
}

/**
 * Which steps of a build go on, read from the lines of `--progress plain`. BuildKit says how far it is with what it loads; what a step runs, copies or
 * exports may say nothing for minutes, as a compiler does.
 */
export class BuildSteps {
  private readonly silent = new Set<string>()

  read(line: string): void {
    const [, id = '', text = ''] = /^#(\d+) (.*)$/.exec(line) ?? []
    if (/^(\[(?!internal\]|auth\])[^\]]*\] (?!FROM )|exporting |unpacking )/.test(text)) this.silent.add(id)
    if (/^(DONE|CACHED|CANCELED|ERROR)\b/.test(text)) this.silent.delete(id)
  }

  isSilent(): boolean {
    return this.silent.size > 0
  }
}

function buildFailure(application: string, folder: string, result: Result, logFile: string): PlatformError {
  const ended = brokenStep(result.stderr) ?? `docker build ended with exit code ${result.exitCode}`
  return new PlatformError(`The image of ${application} could not be built from ${folder}: ${ended}`, {
    why: lastLines(result.stderr, 20),
    hint: `less ${logFile}   # the whole output of the build`,
  })
}

/** What a RUN of a Dockerfile ended with, in words; undefined where a build failed of something else. docker's own exit code is 1 for all of them. */
export function brokenStep(said: string): string | undefined {
  // ERROR: failed to build: failed to solve: process "/bin/sh -c npm run build" did not complete successfully: exit code: 7
  const [, command, code] =
    /process "(?:\/bin\/sh -c )?(.*)" did not complete successfully: exit code: (\d+)/.exec(said) ?? []
  return command === undefined ? undefined : `\`${command}\` ended with exit code ${code}`
}

/** The file with the output of an application's last build. */
export function buildLog(platform: Platform, application: string): string {
  return join(clusterFolder(platform), 'build', `${application}.log`)
}

/**
 * The image of each application as it was last pushed, and is in the registry now. An image that the registry has lost, with its volume, is pushed
 * again where the engine still has it. Throws, naming them, where some have none.
 */
export async function deployableImages(
  platform: Platform,
  report: (phase: string) => void = () => {},
): Promise<{ images: BuiltImage[]; outcome: 'unchanged' | 'updated' }> {
  const names = applicationNames(platform)
  const records = await Promise.all(names.map(name => builtImage(platform, name)))
  const never = names.filter((_, index) => records[index] === undefined)
  if (never.length > 0)
    throw new PlatformError(`No image has been built yet for ${never.join(', ')}`, { hint: 'task build-and-push' })
  const images = records.filter(record => record !== undefined)
  const inRegistry = await Promise.all(images.map(({ repository, digest }) => digestOf(platform, repository, digest)))
  const lost = images.filter((_, index) => inRegistry[index] === undefined)
  if (lost.length > 0) report(`pushing ${lost.map(({ application }) => application).join(', ')} again`)
  const pushed = await Promise.all(lost.map(image => pushAgain(platform, image)))
  const gone = lost.filter((_, index) => !pushed[index]).map(({ application }) => application)
  if (gone.length > 0)
    throw new PlatformError(`Neither the registry nor the engine has the image of ${gone.join(', ')} any more`, {
      hint: 'task build-and-push',
    })
  return { images, outcome: lost.length > 0 ? 'updated' : 'unchanged' }
}

/** Pushes an image that is still tagged `dev` in the engine; false where another one is, or where it gets another digest. */
async function pushAgain(platform: Platform, { repository, tag, digest }: BuiltImage): Promise<boolean> {
  const local = await $({ nothrow: true })`docker image inspect --format '{{.Id}}' ${repository}:dev`
  if (!local.stdout.replace(/^sha256:/, '').startsWith(tag)) return false
  await push(`${repository}:dev`)
  await tagInRegistry(platform, repository, 'dev', tag)
  return (await digestOf(platform, repository, tag)) === digest
}

/** The image that was last built and pushed for this application, if any. */
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
