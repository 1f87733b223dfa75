#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { removeStack, stopContainers } from '../lib/stack/stack.ts'
import { badInput } from '../lib/system/errors.ts'

export default defineTask({
  name: 'stop-infrastructure',
  summary: 'Stop all services and keep their data',
  replaces: 'infrastructure/stop-infrastructure.sh',
  leaves: ['stopped containers and their volumes; with --volumes neither'],
  undo: 'task start-infrastructure (deleted data does not come back)',
  options: {
    volumes: { type: 'boolean', help: 'remove the containers and all their data; asks first' },
  },
  async run({ options, yes, out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)

    if (!options.volumes) {
      await out.step('Stop the containers', () => stopContainers(platform))
      out.summary('Data is kept. To start again: task start-infrastructure')
      return
    }

    if (!yes && !out.interactive) {
      throw badInput(
        'Deleting all data needs a yes',
        [{ where: '--volumes', what: 'there is no terminal to ask on' }],
        'Add --yes',
      )
    }
    if (!yes && !(await out.confirm('Delete all data: databases, objects, images, metrics, logs and dashboards?')))
      return
    await out.step('Remove containers and data', async () => {
      await removeStack(platform, { volumes: true })
      return 'removed'
    })
  },
})
