import type { Platform, Route } from '../platform/platform.ts'
import { addressText } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { describeHolder, hintToFree, holdersOf, type Listener, listeners } from '../system/ports.ts'
import { type ForeignRoute, type RouteChange, type RouteEngine, sameListen, sameRoute } from './engine.ts'
import { languageOf, type RouteHealth, verifyRoute } from './verify.ts'

/** The engine in charge, and those that may still hold routes from before. */
export interface Routing {
  engine: RouteEngine
  others: readonly RouteEngine[]
}

/** What applying routes would change. */
export interface RoutePlan {
  create: Route[]
  /** There, with another target. */
  update: Route[]
  keep: Route[]
  /** Not wanted any more, or held by another engine. */
  remove: { route: Route; engine: RouteEngine }[]
}

/**
 * Compares the wanted routes with what all engines hold. `owns` says of which groups routes that are not wanted any more are removed.
 */
export async function planRoutes(
  wanted: readonly Route[],
  owns: (group: string) => boolean,
  { engine, others }: Routing,
): Promise<RoutePlan> {
  const isOurs = (route: Route) => owns(route.group) || wanted.some(other => sameListen(other, route))
  const held = (await engine.installed()).filter(isOurs)
  // an address has one holder: where all is in place already, no container can publish any of it
  const isComplete = wanted.length > 0 && wanted.every(route => held.some(other => sameRoute(other, route)))
  const looked = others.filter(({ name }) => name !== 'publish' || !isComplete)
  const elsewhere = await Promise.all(
    looked.map(async other => (await other.installed()).filter(isOurs).map(route => ({ route, engine: other }))),
  )
  return {
    create: wanted.filter(route => !held.some(other => sameListen(other, route))),
    update: wanted.filter(route => held.some(other => sameListen(other, route) && !sameRoute(other, route))),
    keep: wanted.filter(route => held.some(other => sameRoute(other, route))),
    remove: [
      ...held.filter(route => !wanted.some(other => sameListen(other, route))).map(route => ({ route, engine })),
      ...elsewhere.flat(),
    ],
  }
}

/**
 * Makes routes with the engine in charge: those of other engines and those that are not wanted any more are removed first, right ones are left
 * alone. Throws before anything is changed where another program holds an address; names the holder.
 */
export async function applyRoutes(
  wanted: readonly Route[],
  owns: (group: string) => boolean,
  routing: Routing,
): Promise<RouteChange[]> {
  const plan = await planRoutes(wanted, owns, routing)
  const ours = [...plan.keep, ...plan.update, ...plan.remove.map(({ route }) => route)]
  const needed = plan.create.filter(route => !ours.some(other => sameListen(other, route)))
  if (needed.length > 0) requireFree(needed, await listeners())
  const removed = await removePlanned(plan, routing.others)
  try {
    const applied = await routing.engine.apply(wanted)
    const moved = (route: Route) => removed.some(gone => sameListen(gone.route, route))
    return [
      ...removed.filter(({ route }) => !wanted.some(other => sameListen(other, route))),
      ...applied.map(change =>
        change.outcome === 'created' && moved(change.route) ? { ...change, outcome: 'updated' as const } : change,
      ),
    ]
  } catch (error) {
    // another program took the address meanwhile: its name says more than the tool's own message
    requireFree(needed, await listeners(), error)
    throw error
  }
}

/** Removes every route of the groups, whichever engine holds it. */
export async function removeRoutes(owns: (group: string) => boolean, routing: Routing): Promise<RouteChange[]> {
  return removePlanned(await planRoutes([], owns, routing), [routing.engine, ...routing.others])
}

/** Removes what engines other than the one in charge hold: before containers are started that publish the same addresses. */
export async function retireOtherEngines(
  owns: (group: string) => boolean,
  { engine, others }: Routing,
): Promise<RouteChange[]> {
  const plan = await planRoutes([], owns, { engine: { ...engine, installed: async () => [] }, others })
  return removePlanned(plan, others)
}

// Also from engines that hold nothing: a run that removed their last route may have ended before it removed what routes share.
async function removePlanned({ remove }: RoutePlan, engines: readonly RouteEngine[]): Promise<RouteChange[]> {
  const changes: RouteChange[] = []
  for (const engine of new Set([...engines, ...remove.map(({ engine }) => engine)])) {
    changes.push(...(await engine.remove(remove.filter(each => each.engine === engine).map(({ route }) => route))))
  }
  return changes
}

/**
 * What another installation holds of the addresses of these routes, or has as units where the engine in charge has its own; and what of ours the
 * journal has lost.
 */
export async function foreignRoutes(routes: readonly Route[], { engine, others }: Routing): Promise<ForeignRoute[]> {
  const isInOurPlace = ({ listen }: ForeignRoute) =>
    routes.some(route => listen && addressText(route.listen) === addressText(listen))
  // units of another installation share macula.target and its like with ours, whichever addresses they have
  const isConflict = (each: ForeignRoute) =>
    isInOurPlace(each) || (engine.name === 'systemd' && (each.listen === undefined || each.state === 'foreign'))
  return [
    ...(await engine.foreign()).filter(isConflict),
    ...(await Promise.all(others.map(other => other.foreign()))).flat().filter(isInOurPlace),
  ]
}

/** Throws one error with the holder of every address that a route needs and another program has. */
export function requireFree(routes: readonly Route[], table: readonly Listener[], cause?: unknown): void {
  const taken = routes.flatMap(route =>
    holdersOf(route.listen, table)
      .slice(0, 1)
      .map(holder => ({ route, holder })),
  )
  const [first] = taken
  if (first === undefined) return
  throw new PlatformError(
    taken.length === 1
      ? `${addressText(first.route.listen)} is taken; ${first.route.service} needs it`
      : `${taken.length} addresses that routes need are taken`,
    {
      why: taken
        .map(
          ({ route, holder }) =>
            `${addressText(route.listen)} (${route.service}): held by ${describeHolder(holder)} on ${addressText(holder)}`,
        )
        .join('\n'),
      hint: [...new Set(taken.map(({ holder }) => hintToFree(holder)))].join('\n'),
      cause,
    },
  )
}

/** Looks at all routes from outside, at once. Throws where one does not listen, or forwards nothing though its target answers. */
export async function verifyRoutes(
  routes: readonly Route[],
  platform: Pick<Platform, 'services'>,
): Promise<RouteHealth[]> {
  const healths = await Promise.all(routes.map(route => verifyRoute(route, { speaks: languageOf(platform, route) })))
  const broken = healths.filter(({ state }) => state === 'refused' || state === 'silent')
  if (broken.length > 0) {
    throw new PlatformError(`${broken.length} of ${routes.length} routes do not work`, {
      why: broken.map(({ route, detail }) => `${addressText(route.listen)} (${route.service}): ${detail}`).join('\n'),
      hint: 'task doctor',
    })
  }
  return healths
}
