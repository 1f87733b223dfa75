#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { recordedNodes } from '../lib/cluster/ownership.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { ownThings, requireOwnership } from '../lib/stack/ownership.ts'
import { stopContainers } from '../lib/stack/stack.ts'
import { removeThings } from '../lib/stack/things.ts'
import { badInput } from '../lib/system/errors.ts'

export default defineTask({
  name: 'stop-infrastructure',
  summary: 'Stop all services and keep their data',
  replaces: 'infrastructure/stop-infrastructure.sh',
  leaves: ['stopped containers and their volumes; with --volumes neither'],
  undo: 'task start-infrastructure (deleted data does not come back)',
  options: {
    volumes: { type: 'boolean', help: 'remove the containers and all their data; prompts first' },
  },
  async run({ options, yes, out, environment }) {
    const paths = pathsOf(environment)
    const platform = await loadPlatform(paths, environment)

    if (!options.volumes) {
      await out.step('Stop containers', () => stopContainers(platform))
      out.summary('Data is kept. To start again: task start-infrastructure')
      return
    }

    await requireOwnership(platform)
    const things = await ownThings(paths)
    if (things.length === 0) return out.summary('There is nothing to remove.')
    if (!yes && !out.interactive) {
      const problem = { where: '--volumes', what: 'there is no terminal to prompt on' }
      throw badInput('Deleting all data needs a confirmation', [problem], 'Add --yes')
    }
    if (!yes && !(await out.confirm('Delete all data: databases, objects, images, metrics, logs and dashboards?')))
      return
    await out.step('Stop containers', () => stopContainers(platform))
    // the network holds no data, and the engine keeps it for as long as the cluster's nodes are on it
    const nodes = await recordedNodes(paths)
    const inUse = new Set(nodes.flatMap(({ networks }) => Object.values(networks).map(({ id }) => id)))
    await out.step('Remove containers and data', () => removeThings(things.filter(({ id }) => !inUse.has(id))))
  },
})
