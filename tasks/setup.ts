#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { graphOf, readTaskfile } from '../lib/cli/taskfile.ts'
import { runTogether } from '../lib/cli/together.ts'
import { table } from '../lib/system/text.ts'

export default defineTask({
  name: 'setup',
  summary: 'Set up the whole environment, from DNS to running applications',
  leaves: ['what its steps leave; each has a --help of its own', '.macula/timings.jsonl: how long each step took'],
  undo: 'task teardown',
  options: {
    graph: { type: 'boolean', onlyLooks: true, help: 'only print the steps, and what each waits for' },
  },
  async run(context) {
    const { options, out } = context
    // the steps are those that Taskfile.yml names setup:…
    const steps = graphOf(await readTaskfile(), 'setup')
    if (options.graph) return out.result(drawGraph(steps))

    await runTogether({
      task: 'setup',
      steps,
      context,
      rootScripts: [
        'install-packages',
        'setup-dnsmasq',
        'setup-observability-routing',
        'setup-data-routing',
        'setup-kind-routing',
      ],
      reason: 'set this machine up',
    })
  },
})

function drawGraph(steps: ReturnType<typeof graphOf>): string {
  const commands = steps.map(({ scripts }) =>
    scripts.map(({ script, words }) => [script, ...words].join(' ')).join(', '),
  )
  return table(
    ['STEP', 'RUNS', 'WAITS FOR'],
    steps.map(({ name, after }, index) => [name, commands[index] ?? '', after.join(', ')]),
  )
}
