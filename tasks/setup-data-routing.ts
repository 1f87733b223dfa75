#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineRoutingTask } from '../lib/cli/routing-task.ts'
import { clusterGroup } from '../lib/platform/ingress-routes.ts'

// Leaves units or socat processes, see lib/routes/task.ts; --remove and `task teardown` take them away.
export default defineRoutingTask({
  name: 'setup-data-routing',
  summary: 'Route the loopback addresses of the data services to their containers',
  replaces: 'scripts/setup-data-routing.sh',
  // every group that has no routing task of its own, so that a service of the user's is reached with no code of theirs
  owns: group => group !== 'observability' && group !== clusterGroup,
})
