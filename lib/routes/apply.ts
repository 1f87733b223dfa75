import type { Platform, Route } from '../platform/platform.ts'
import { addressText } from '../system/address.ts'
import { PlatformError } from '../system/errors.ts'
import { describeHolder, hintToFree, holdersOf, type Listener, listeners } from '../system/ports.ts'
import { type RouteChange, type RouteEngine, sameListen, sameRoute } from './engine.ts'
import { languageOf, type RouteHealth, verifyRoute } from './verify.ts'

/** The engine in charge, and those that may still hold routes from before. */
export interface Routing {
  engine: RouteEngine
  others: readonly RouteEngine[]
}

/** What bringing routes into place would change. */
export interface RoutePlan {
  create: Route[]
  /** There, with another target. */
  update: Route[]
  keep: Route[]
  /** Not wanted any more, or held by another engine. */
  remove: { route: Route; engine: RouteEngine }[]
}

/**
 * Compares the wanted routes with what all engines hold. `owns` says of which groups routes that are not wanted any more are to go.
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
  const asked = others.filter(({ name }) => name !== 'publish' || !isComplete)
  const elsewhere = await Promise.all(
    asked.map(async other => (await other.installed()).filter(isOurs).map(route => ({ route, engine: other }))),
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
 * Brings routes into place with the engine in charge: those of other engines and those nobody wants any more go first, right ones are left alone.
 * Throws before anything is changed where an address is held by somebody else; names the holder.
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
    // somebody was quicker than we: say who, rather than what the tool said of it
    requireFree(needed, await listeners(), error)
    throw error
  }
}

/** Takes away every route of the groups, whichever engine holds it. */
export async function removeRoutes(owns: (group: string) => boolean, routing: Routing): Promise<RouteChange[]> {
  return removePlanned(await planRoutes([], owns, routing), [routing.engine, ...routing.others])
}

/** Takes away what engines other than the one in charge hold: before containers are started that publish the same addresses. */
export async function retireOtherEngines(
  owns: (group: string) => boolean,
  { engine, others }: Routing,
): Promise<RouteChange[]> {
  const plan = await planRoutes([], owns, { engine: { ...engine, installed: async () => [] }, others })
  return removePlanned(plan, others)
}

// Engines that hold nothing are asked as well: a run that took their last route away may have been broken off before it was done with the rest.
async function removePlanned({ remove }: RoutePlan, engines: readonly RouteEngine[]): Promise<RouteChange[]> {
  const changes: RouteChange[] = []
  for (const engine of new Set([...engines, ...remove.map(({ engine }) => engine)])) {
    changes.push(...(await engine.remove(remove.filter(each => each.engine === engine).map(({ route }) => route))))
  }
  return changes
}

/** Throws one error with the holder of every address that a route needs and somebody else has. */
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

/** Looks at all routes from outside, at once. Throws where one does not listen, or lets nothing through though its target answers. */
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
