#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { compareLast, drawRun, readTimings } from '../lib/cli/timings.ts'
import { pathsOf } from '../lib/platform/settings.ts'

export default defineTask({
  name: 'timings',
  summary: 'Show how long each step of the last setup took, and what has become slower',
  leaves: [],
  undo: '',
  options: {
    json: {
      type: 'boolean',
      help: 'print { "runs": N, "last": { at, seconds, steps } } on stdout and nothing else there',
    },
  },
  async run({ options, out, environment }) {
    const runs = await readTimings(pathsOf(environment))
    const last = compareLast(runs)
    if (options.json) return out.json({ runs: runs.length, last: last ?? null })
    if (last === undefined) return out.summary('No setup has been run from here yet: task setup')

    out.title(`Setup of ${new Date(last.at).toLocaleString('en-GB')}`)
    out.result(drawRun(last.seconds, last.steps))
    const grown = last.steps.filter(step => step.grown).map(({ name }) => name)
    out.summary(
      grown.length > 0
        ? `More than a third longer than usual: ${grown.join(', ')}`
        : '█ is what the whole waited for. USUALLY is the median of earlier runs in which the step did the same.',
    )
  },
})
