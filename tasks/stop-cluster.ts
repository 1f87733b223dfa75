#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { notInCharge } from '../lib/cluster/cluster.ts'
import { ownNodes } from '../lib/cluster/ownership.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { $ } from '../lib/system/exec.ts'

export default defineTask({
  name: 'stop-cluster',
  summary: 'Stop the KinD cluster and keep everything in it',
  leaves: ['the stopped nodes with all their data'],
  undo: 'task start-cluster',
  options: {},
  async run({ out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const reason = notInCharge(platform)
    if (reason !== undefined) return out.summary(reason)
    const nodes = await ownNodes(platform)
    if (nodes.length === 0) return out.summary('There is no cluster. Create one: task setup-cluster')
    await out.step('Stop the nodes', async () => {
      const running = nodes.filter(node => node.running).map(({ id }) => id)
      if (running.length === 0) return 'unchanged'
      // workers first, so that the control plane sees them go
      await $({ timeout: '2m' })`docker stop ${running.reverse()}`
      return 'updated'
    })
    out.summary('Start it again: task start-cluster')
  },
})
