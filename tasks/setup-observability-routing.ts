#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineRoutingTask } from '../lib/cli/routing-task.ts'
import type { RouteCommands } from '../lib/routes/engine.ts'
import { args } from '../lib/system/exec.ts'

// Prometheus 127.0.0.3:9090, Grafana 127.0.0.4:3000, Loki 127.0.0.5:3100, Tempo 127.0.0.6:3200, and what else the catalogue has of them:
// one socket unit each, or one socat process where systemd does not run.
export const commands: RouteCommands = {
  systemd: (sockets, $) => $`systemctl enable --now ${sockets}`,
  socat: ({ listen, target, identity, listening, connecting }) =>
    args`socat ${identity} TCP4-LISTEN:${listen.port},bind=${listen.ip},${listening} TCP4:${target.ip}:${target.port},${connecting}`,
}

// Leaves units or socat processes, see lib/cli/routing-task.ts; --remove and `task teardown` remove them.
export default defineRoutingTask({
  name: 'setup-observability-routing',
  summary: 'Route the loopback addresses of the observability services to their containers',
  replaces: 'scripts/setup-observability-routing.sh',
  owns: group => group === 'observability',
  commands,
})
