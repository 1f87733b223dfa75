#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { nodesOrReason, stopNodes } from '../lib/cluster/nodes.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'

export default defineTask({
  name: 'stop-cluster',
  summary: 'Stop the KinD cluster and keep everything in it',
  leaves: ['the stopped nodes with all their data'],
  undo: 'task start-cluster',
  options: {},
  async run({ out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const { nodes, reason } = await nodesOrReason(platform)
    if (reason !== undefined) return out.summary(reason)
    await out.step('Stop the nodes', () => stopNodes(nodes))
    out.summary('Start it again: task start-cluster')
  },
})
