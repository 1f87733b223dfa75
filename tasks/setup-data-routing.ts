#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineRoutingTask } from '../lib/cli/routing-task.ts'
import { clusterGroup } from '../lib/platform/ingress-routes.ts'
import type { RouteCommands } from '../lib/routes/engine.ts'
import { args } from '../lib/system/exec.ts'

// TimescaleDB 127.0.0.7:5432, MinIO 127.0.0.8:9000 and its console :9001, and what else the catalogue has of them: one socket unit each, or one
// socat process where systemd does not run.
export const commands: RouteCommands = {
  systemd: (sockets, $) => $`systemctl enable --now ${sockets}`,
  socat: ({ listen, target, identity, listening, connecting }) =>
    args`socat ${identity} TCP4-LISTEN:${listen.port},bind=${listen.ip},${listening} TCP4:${target.ip}:${target.port},${connecting}`,
}

// Leaves units or socat processes, see lib/cli/routing-task.ts; --remove and `task teardown` remove them.
export default defineRoutingTask({
  name: 'setup-data-routing',
  summary: 'Route the loopback addresses of the data services to their containers',
  replaces: 'scripts/setup-data-routing.sh',
  // every group that has no routing task of its own, so that a service of the user's is reached with no code of theirs
  owns: group => group !== 'observability' && group !== clusterGroup,
  commands,
})
