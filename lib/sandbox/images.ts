import { $, within } from 'zx/core'
import { messageOf, PlatformError } from '../errors.ts'
import { ask } from '../exec.ts'
import { mirrored, missingImages, pullImages } from '../images.ts'
import { bytes, type StepProgress } from '../output.ts'
import type { SupplyOptions } from './cache.ts'
import { type EngineOptions, outsideAddress, withMachineNetwork } from './engine.ts'
import type { Namespace } from './namespace.ts'
import { ensureStandIns, standInLabel } from './standins.ts'

/** A registry answers within 1 s on any connection that a pull could be done over; more would only delay those who have none. */
const registryDeadlineMs = 3000
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
  const lacking = () => withEnvironment(env, async () => unreal(wanted, await missingImages(wanted)))
  const needed = await lacking()
  const present = wanted.length - needed.length
  const [first] = needed
  if (first === undefined) return { present, pulled: 0, standIns: 0 }

  const refusal = await registryRefusal(mirrored(first, mirror), env)
  if (refusal === undefined) {
    await withMachineNetwork(namespace, engine, () => pull(needed, mirror, env, progress, warn))
  }
  const unpulled = refusal === undefined ? await lacking() : needed
  const docker = { host: env.DOCKER_HOST, programs: engine.programs }
  const standIns = await ensureStandIns(unpulled, { ...supply, docker, path })
  const outcomes = await Promise.all(standIns.values())
  if (refusal !== undefined && outcomes.includes('created')) {
    warn(`No registry answers, so stand-ins for the images were built here\n  ${refusal}`)
  }
  return { present, pulled: needed.length - unpulled.length, standIns: unpulled.length }
}

/** Those of `images` that are missing, or there as a stand-in only. */
async function unreal(images: readonly string[], missing: readonly string[]): Promise<string[]> {
  const format = `{{if .Config.Labels}}{{index .Config.Labels "${standInLabel}"}}{{end}}`
  const found: string[] = []
  for (const image of images) {
    const isStandIn = async () =>
      (await ask(['docker', 'image', 'inspect', '--format', format, image])).stdout.trim() !== ''
    if (missing.includes(image) || (await isStandIn())) found.push(image)
  }
  return found
}

async function pull(
  images: readonly string[],
  mirror: string,
  env: Record<string, string>,
  progress: StepProgress,
  warn: (text: string) => void,
): Promise<void> {
  await withEnvironment(env, async () => {
    // a name that a stand-in has would pass for pulled; the stand-in itself stays under a name of its own
    for (const image of images) await ask(['docker', 'image', 'rm', image])
    try {
      await pullImages(images, mirror, pulls =>
        progress.update(
          pulls.map(({ image, current, total }) => `${image} ${bytes(current)} of ${bytes(total)}`).join(', '),
        ),
      )
    } catch (error) {
      // what a registry does not have can still be built
      if (!(error instanceof PlatformError)) throw error
      warn(`${error.message}; stand-ins are built for them\n  ${error.why}`)
    }
  })
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

/** Runs `action` with variables added to the environment of every command in it. */
function withEnvironment<T>(env: Record<string, string>, action: () => Promise<T>): Promise<T> {
  return within(async () => {
    $.env = { ...$.env, ...env }
    return action()
  })
}
