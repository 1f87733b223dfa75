#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineRoutingTask } from '../lib/cli/routing-task.ts'
import { clusterGroup, clusterRoutes } from '../lib/platform/ingress-routes.ts'

// Leaves units or socat processes, see lib/routes/task.ts; --remove and `task teardown` take them away.
// 4433/udp needs no route: KinD itself listens on the applications' loopback address.
export default defineRoutingTask({
  name: 'setup-kind-routing',
  summary: "Route ports 80 and 443 of the applications' loopback address to the cluster's ingress",
  replaces: 'scripts/setup-kind-routing.sh',
  owns: group => group === clusterGroup,
  routesOf: clusterRoutes,
})
