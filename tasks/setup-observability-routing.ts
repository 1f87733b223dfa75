#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineRoutingTask } from '../lib/cli/routing-task.ts'

// Leaves units or socat processes, see lib/routes/task.ts; --remove and `task teardown` take them away.
export default defineRoutingTask({
  name: 'setup-observability-routing',
  summary: 'Route the loopback addresses of the observability services to their containers',
  replaces: 'scripts/setup-observability-routing.sh',
  owns: group => group === 'observability',
})
