import type { Platform } from '../platform/platform.ts'
import { badInput, PlatformError } from '../system/errors.ts'
import type { StepProgress } from '../system/progress.ts'
import { type BuildOutcome, buildAndPush, sourcesOf } from './application-images.ts'
import { applicationNames } from './cluster.ts'
import { requireRegistry } from './image-registry.ts'

/** An application and the folder it is built from. */
export interface Source {
  application: string
  folder: string
}

/** Sources of these applications, of all where none is named. Throws for names the catalogue does not have, and without a registry to push to. */
export async function requireSources(platform: Platform, wanted: readonly string[]): Promise<Source[]> {
  const known = applicationNames(platform)
  const problems = wanted
    .filter(name => !known.includes(name))
    .map(where => ({ where, what: `is not an application; known: ${known.join(', ')}` }))
  if (problems.length > 0) throw badInput('These applications cannot be built', problems)
  const [sources] = await Promise.all([sourcesOf(platform), requireRegistry(platform)])
  return sources.filter(({ application }) => wanted.length === 0 || wanted.includes(application))
}

/** Builds and pushes all sources side by side. Waits for every one of them, then throws for those that failed, with the output of each. */
export async function buildAll(
  platform: Platform,
  sources: readonly Source[],
  progress: StepProgress,
): Promise<BuildOutcome[]> {
  const phases = new Map<string, string>()
  const builds = new Map<string, Promise<string>>()
  const results = await Promise.allSettled(
    sources.map(async source => {
      const built = await buildAndPush(platform, source, builds, phase => {
        phases.set(source.application, phase)
        progress.update([...phases].map(([application, phase]) => `${application}: ${phase}`).join(', '))
      })
      phases.delete(source.application)
      progress.line(describe(built))
      return built
    }),
  )
  // a build that several applications share fails once
  const failures = [...new Set(results.flatMap(result => (result.status === 'rejected' ? [result.reason] : [])))]
  if (failures.length > 0) throw oneError(failures)
  return results.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
}

/** The outcome of all builds, in a word or two. */
export function changedIn(outcomes: readonly BuildOutcome[]): string {
  const changed = outcomes.filter(({ outcome }) => outcome !== 'unchanged')
  return changed.length === 0 ? 'unchanged' : `${changed.length} of ${outcomes.length} changed`
}

function describe({ application, image, outcome, before }: BuildOutcome): string {
  const digest = image.digest.slice(0, 19)
  const change = before === undefined || before === image.digest ? digest : `${before.slice(0, 19)} → ${digest}`
  return `${application}  ${image.repository}:${image.tag}  ${change}  ${outcome}`
}

/** One failure as it is; several expected ones as one; a defect before all others. */
function oneError(failures: readonly unknown[]): unknown {
  const expected = failures.filter(failure => failure instanceof PlatformError)
  const [first] = expected
  if (first === undefined || expected.length < failures.length)
    return failures.find(failure => !(failure instanceof PlatformError))
  if (expected.length === 1) return first
  return new PlatformError(`${expected.length} images could not be built`, {
    why: expected.map(({ message, why }) => `${message}\n${why ?? ''}`).join('\n'),
    hint: first.hint,
    exitCode: first.exitCode,
  })
}
