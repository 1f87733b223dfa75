#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineRoutingTask } from '../lib/cli/routing-task.ts'
import { clusterGroup, clusterRoutes } from '../lib/platform/ingress-routes.ts'
import type { RouteCommands } from '../lib/routes/engine.ts'
import { args } from '../lib/system/exec.ts'

// 127.0.0.2:80 → 127.0.0.1:8080 and 127.0.0.2:443 → 127.0.0.1:8443, where the KinD node listens: one socket unit each, or one socat process where
// systemd does not run. 4433/udp needs no route: KinD itself listens on the applications' loopback address.
export const commands: RouteCommands = {
  systemd: (sockets, $) => $`systemctl enable --now ${sockets}`,
  socat: ({ listen, target, identity, listening, connecting }) =>
    args`socat ${identity} TCP4-LISTEN:${listen.port},bind=${listen.ip},${listening} TCP4:${target.ip}:${target.port},${connecting}`,
}

// Leaves units or socat processes, see lib/cli/routing-task.ts; --remove and `task teardown` remove them.
export default defineRoutingTask({
  name: 'setup-kind-routing',
  summary: "Route ports 80 and 443 of the applications' loopback address to the cluster's ingress",
  replaces: 'scripts/setup-kind-routing.sh',
  owns: group => group === clusterGroup,
  routesOf: clusterRoutes,
  commands,
})
