import { compose, requireRenderedFiles } from '../lib/compose.ts'
import { placesOf } from '../lib/env.ts'
import { badInput } from '../lib/errors.ts'
import { loadPlatform, type Platform } from '../lib/platform.ts'
import { defineTask } from '../lib/task.ts'

export default defineTask({
  name: 'logs',
  summary: 'Show what services have logged',
  leaves: [],
  undo: '',
  positionals: '[SERVICE…]',
  options: {
    follow: { type: 'boolean', short: 'f', help: 'go on with what comes, until Ctrl-C' },
    tail: { type: 'string', value: 'N', help: "lines of each service, or 'all' (100)" },
  },
  async run({ options, positionals, environment }) {
    const platform = await loadPlatform(placesOf(environment), environment)
    const tail = options.tail ?? '100'
    requireArguments(platform, positionals, tail)
    await requireRenderedFiles(platform)
    await compose(platform, ['logs', '--tail', tail, ...(options.follow ? ['--follow'] : []), ...positionals], {
      inherit: true,
    })
  },
})

function requireArguments(platform: Platform, wanted: readonly string[], tail: string): void {
  const known = platform.services.map(({ name }) => name)
  const problems = wanted
    .filter(name => !known.includes(name))
    .map(name => ({ where: name, what: `is not a service; known: ${known.join(', ')}` }))
  if (!/^(\d+|all)$/.test(tail)) problems.push({ where: '--tail', what: `${tail} should be a number of lines, or all` })
  if (problems.length > 0) throw badInput('These logs cannot be shown', problems)
}
