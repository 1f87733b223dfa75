import { homedir } from 'node:os'
import { $, within } from 'zx/core'
import { messageOf, PlatformError } from '../errors.ts'
import { ask, run } from '../exec.ts'
import { mirrored, missingImages, type PullProgress, pullImages } from '../images.ts'
import { bytes, type StepProgress } from '../output.ts'
import type { SupplyOptions } from './cache.ts'
import { type EngineOptions, outsideAddress, withMachineNetwork } from './engine.ts'
import type { Namespace } from './namespace.ts'
import { ensureStandIns } from './standins.ts'

/** A registry answers within 1 s on any connection that a pull could be done over; more would only delay those who have none. */
const registryDeadlineMs = 3000
/** Carried by images that were built in place of the published ones. */
const standInLabel = 'macula.standin'
/** What Docker says when it gets no answer; everything else, a refusal included, comes from a registry. */
const noAnswer =
  /dial tcp|no such host|i\/o timeout|connection (refused|reset)|network is unreachable|did not end within|TLS handshake/

export interface ImageSupply {
  images: readonly string[]
  /** IMAGE_MIRROR, or nothing. */
  mirror: string
  path: string
  supply: SupplyOptions
  progress: StepProgress
  /** Told once why images have to be made here. */
  warn: (text: string) => void
}

/** Where images came from, counted. */
export interface Supplied {
  present: number
  pulled: number
  standIns: number
}

/**
 * Has all images in the sandbox's engine: those of earlier runs, then pulled where this machine reaches a registry, then stand-ins
 * built here. Throws for the first image that none of these can supply.
 */
export async function supplyImages(
  namespace: Namespace,
  engine: EngineOptions,
  { images, mirror, path, supply, progress, warn }: ImageSupply,
): Promise<Supplied> {
  const env = { ...engine.environment, DOCKER_HOST: outsideAddress(namespace) }
  const wanted = [...new Set(images)]
  const lacking = async () => withEnvironment(env, () => missingImages(wanted))
  // a stand-in is made anew from its recipe, which costs nothing while that is the same, and gives way to the real image
  await withEnvironment(env, () => forgetStandIns(wanted))
  const missing = await lacking()
  const present = wanted.length - missing.length
  const [first] = missing
  if (first === undefined) return { present, pulled: 0, standIns: 0 }
  const refusal = await registryRefusal(mirrored(first, mirror), env)
  if (refusal === undefined) {
    await withMachineNetwork(namespace, engine, async () => {
      const login = { ...env, HOME: homedir() }
      await withEnvironment(login, () => pullImages(missing, mirror, pulling(progress))).catch(error => {
        // what a registry does not have can still be built
        if (!(error instanceof PlatformError)) throw error
        warn(`${error.message}; stand-ins are built for them\n${error.why}`)
      })
    })
  } else warn(`No registry answers, so stand-ins of the images are built here (${refusal})`)
  const unpulled = refusal === undefined ? await lacking() : missing
  const docker = { host: env.DOCKER_HOST, programs: engine.programs }
  const standIns = await ensureStandIns(unpulled, { ...supply, docker, path })
  await Promise.all(standIns.values())
  return { present, pulled: missing.length - unpulled.length, standIns: unpulled.length }
}

/** Why no registry answers for this image, in Docker's words; undefined when one does. */
async function registryRefusal(image: string, env: Record<string, string>): Promise<string | undefined> {
  const inspect = ['docker', 'manifest', 'inspect', '--insecure', image]
  const answer = await ask(inspect, { env, timeoutMs: registryDeadlineMs }).catch(error => ({
    exitCode: 1,
    stderr: messageOf(error),
  }))
  return answer.exitCode !== 0 && noAnswer.test(answer.stderr) ? answer.stderr.trim() : undefined
}

/** Takes their names from images that are stand-ins; the images stay, under names of their own. */
async function forgetStandIns(images: readonly string[]): Promise<void> {
  const format = `{{if .Config.Labels}}{{index .Config.Labels "${standInLabel}"}}{{end}}`
  for (const image of images) {
    const { stdout } = await ask(['docker', 'image', 'inspect', '--format', format, image])
    if (stdout.trim() !== '') await run(['docker', 'image', 'rm', image])
  }
}

function pulling(progress: StepProgress): (pulls: readonly PullProgress[]) => void {
  return pulls =>
    progress.update(
      pulls.map(({ image, current, total }) => `${image} ${bytes(current)} of ${bytes(total)}`).join(', '),
    )
}

/** Runs `action` with variables added to the environment of every command in it. */
function withEnvironment<T>(env: Record<string, string>, action: () => Promise<T>): Promise<T> {
  return within(async () => {
    $.env = { ...$.env, ...env }
    return action()
  })
}
