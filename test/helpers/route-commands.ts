import type { Owner } from '../../lib/platform/owner.ts'
import type { Route } from '../../lib/platform/platform.ts'
import { socatRoute } from '../../lib/routes/socat.ts'
import { commands } from '../../tasks/setup-data-routing.ts'
import { us } from './owner.ts'

/** The command line of a route, as the routing tasks start it. */
export function socatCommand(route: Route, owner: Owner = us): string[] {
  return commands.socat(socatRoute(route, owner))
}
