import { applicationNames } from '../lib/cluster/cluster.ts'
import { type BuildOutcome, buildAndPush, sourcesOf } from '../lib/cluster/images.ts'
import { requireRegistry } from '../lib/cluster/images-registry.ts'
import { placesOf } from '../lib/env.ts'
import { badInput, PlatformError } from '../lib/errors.ts'
import { loadPlatform } from '../lib/platform.ts'
import { defineTask } from '../lib/task.ts'

export default defineTask({
  name: 'build-and-push',
  summary: "Build the applications' images and push them to the registry",
  replaces: 'scripts/build-and-push.sh',
  leaves: ['images in the Docker engine and in the registry', '.macula/cluster/build: what the builds said'],
  undo: 'docker image rm …; images in the registry can be deleted on its page',
  options: {},
  positionals: '[APPLICATION…]',
  async run({ positionals, out, environment }) {
    const platform = await loadPlatform(placesOf(environment), environment)
    const known = applicationNames(platform)
    const unknown = positionals.filter(name => !known.includes(name))
    if (unknown.length > 0) {
      const problems = unknown.map(where => ({ where, what: `is not an application; known: ${known.join(', ')}` }))
      throw badInput('These applications cannot be built', problems)
    }
    const sources = (await sourcesOf(platform)).filter(
      ({ application }) => positionals.length === 0 || positionals.includes(application),
    )
    await requireRegistry(platform)

    await out.step(`Build and push ${sources.map(({ application }) => application).join(', ')}`, async progress => {
      const phases = new Map<string, string>()
      const results = await Promise.allSettled(
        sources.map(async source => {
          const report = (phase: string) => {
            phases.set(source.application, phase)
            progress.update([...phases].map(([application, phase]) => `${application}: ${phase}`).join(', '))
          }
          const built = await buildAndPush(platform, source, report)
          phases.delete(source.application)
          progress.line(describe(built))
          return built
        }),
      )
      const failures = results.flatMap(result => (result.status === 'rejected' ? [result.reason] : []))
      if (failures.length > 0) throw allOf(failures)
      const changed = results.filter(result => result.status === 'fulfilled' && result.value.outcome !== 'unchanged')
      return changed.length === 0 ? 'unchanged' : `${changed.length} of ${results.length} changed`
    })
    out.summary('Roll them out: task deploy-apps')
  },
})

function describe({ application, image, outcome, before }: BuildOutcome): string {
  const digest = image.digest.slice(0, 19)
  const change = before === undefined || before === image.digest ? digest : `${before.slice(0, 19)} → ${digest}`
  return `${application}  ${image.repository}:${image.tag}  ${change}  ${outcome}`
}

function allOf(failures: readonly unknown[]): unknown {
  const [first] = failures
  const expected = failures.filter(failure => failure instanceof PlatformError)
  if (expected.length !== failures.length) return failures.find(failure => !(failure instanceof PlatformError))
  if (expected.length === 1) return first
  return new PlatformError(`${expected.length} images could not be built`, {
    why: expected.map(({ message, why }) => `${message}\n${why ?? ''}`).join('\n'),
    hint: expected[0]?.hint,
    exitCode: expected[0]?.exitCode ?? 1,
  })
}
