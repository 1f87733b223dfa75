import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { foreignFiles } from '../journal/foreign.ts'
import type { Journal, Outcome } from '../journal/journal.ts'
import type { Route } from '../platform/platform.ts'
import { $, args } from '../system/exec.ts'
import { programPath } from '../system/machine.ts'
import { isListenedOn } from '../system/ports.ts'
import { lookAtUnits, type RunningUnit, runsOtherwise } from '../system/systemd.ts'
import {
  type ForeignRoute,
  type OpenJournal,
  type RouteChange,
  type RouteCommands,
  type RouteEngine,
  sameListen,
  sameRoute,
  scopeOf,
} from './engine.ts'
import {
  type BootUnits,
  bootUnits,
  networkProtocol,
  routeOfUnit,
  routeUnits,
  type Unit,
  unitFolder,
  unitName,
} from './units.ts'

/** Journal scope of what all routes share. */
const bootScope = 'routes/boot'

/** A route with its units as they should be, and what writing them changed. */
interface MadeRoute extends RouteChange {
  outcome: Outcome
  socket: Unit
  service: Unit
}

/** The units that all routes share, as they should be on this machine. */
interface SharedUnits {
  all: Unit[]
  /** The guard of the containers' network, with the path of `ip` that it runs; undefined where the machine has no `ip`. */
  guard: { unit: Unit; ip: string } | undefined
}

export interface SystemdOptions {
  openJournal: OpenJournal
  /** Path of systemd-socket-proxyd. */
  proxy: string
  boot: BootUnits
  /** How socket units are started; only `apply` needs it. */
  enable: RouteCommands['systemd']
  /** Count units that this checkout wrote before it had its present id as ours. */
  adopt?: boolean
}

/** Routes as pairs of a socket unit, which systemd itself holds, and systemd-socket-proxyd behind it; started at boot by macula.target. */
export function systemdEngine(options: SystemdOptions): RouteEngine {
  const context: Context = {
    ...options,
    root: (pieces, ...values) => options.openJournal(bootScope).$(pieces, ...values),
  }
  return {
    name: 'systemd',
    installed: () => installed(context),
    foreign: () => foreign(context),
    apply: routes => apply(context, routes),
    remove: routes => remove(context, routes),
  }
}

/** What the steps below share; `root` runs a command as root. */
interface Context extends SystemdOptions {
  root: Journal['$']
}

async function apply(context: Context, routes: readonly Route[]): Promise<RouteChange[]> {
  if (routes.length === 0) return remove(context, [])
  await reloadAfterUndo(context, routes)
  const shared = await sharedUnits(context)
  const sharedOutcome = await write(context, bootScope, shared.all)
  await removeRenamed(context, routes)
  const made: MadeRoute[] = []
  for (const route of routes) made.push(await make(context, route))

  const names = [...shared.all, ...made.flatMap(({ socket, service }) => [socket, service])].map(({ name }) => name)
  const looks = new Map((await lookAtUnits(names)).map((look, index) => [names[index]!, look]))
  const isWritten = [sharedOutcome, ...made.map(({ outcome }) => outcome)].some(outcome => outcome !== 'unchanged')
  // also what an earlier run wrote and systemd has not read yet
  if (isWritten || [...looks.values()].some(({ isOutdated }) => isOutdated)) await context.root`systemctl daemon-reload`
  await context.openJournal(bootScope).enableUnits(shared.all.map(({ name }) => ({ unit: name })))
  await renewGuard(context, shared, looks)

  const refreshed: Outcome[] = []
  for (const each of made) refreshed.push(await refresh(context, each, looks))
  const sockets = made.map(({ route, socket }) => ({ unit: socket.name, scope: scopeOf(route.group, route) }))
  const enabled = await context.openJournal('routes').enableUnits(sockets, context.enable)
  return made.map(({ route, outcome }, index) => ({
    route,
    outcome: [outcome, refreshed[index]!, enabled[index]!].find(each => each !== 'unchanged') ?? 'unchanged',
  }))
}

async function reloadAfterUndo(context: Context, routes: readonly Route[]): Promise<void> {
  for (const scope of new Set([bootScope, ...routes.map(({ group }) => scopeOf(group))]))
    await context.openJournal(scope).afterUndo(args`systemctl daemon-reload`)
}

async function sharedUnits(context: Context): Promise<SharedUnits> {
  const ip = await programPath('ip')
  const { target, stack, network } = await bootUnits(context.boot, ip ?? '')
  // an engine that systemd does not start (rootless, Podman) is nothing that a unit of ours could wait for
  const startsStack = await unitExists('docker.service')
  return {
    all: [target, ...(startsStack ? [stack] : []), ...(ip === undefined ? [] : [network])],
    guard: ip === undefined ? undefined : { unit: network, ip },
  }
}

async function write(context: Context, scope: string, units: readonly Unit[]): Promise<Outcome> {
  const journal = context.openJournal(scope)
  const outcomes: Outcome[] = []
  for (const { name, content } of units) outcomes.push(await journal.writeFile(join(unitFolder, name), content))
  return outcomes.find(outcome => outcome !== 'unchanged') ?? 'unchanged'
}

/** The same address under another name: two socket units cannot share it. */
async function removeRenamed(context: Context, routes: readonly Route[]): Promise<void> {
  for (const held of await installed(context)) {
    const isRenamed = routes.some(route => sameListen(held, route) && unitName(held) !== unitName(route))
    if (isRenamed) await removeUnits(context, held)
  }
}

async function make(context: Context, route: Route): Promise<MadeRoute> {
  const { socket, service } = await routeUnits(route, context.proxy, context.boot.owner)
  return { route, socket, service, outcome: await write(context, scopeOf(route.group, route), [socket, service]) }
}

/** Its start removes what it added for a network that the settings do not name any more. */
async function renewGuard(
  context: Context,
  { guard }: SharedUnits,
  looks: ReadonlyMap<string, RunningUnit>,
): Promise<void> {
  if (guard === undefined || !looks.get(guard.unit.name)?.active) return
  if (!(await isGuarded(guard.ip, context.boot.network))) await context.root`systemctl restart ${guard.unit.name}`
}

/** Brings systemd from what the units said before to what they say now. */
async function refresh(
  context: Context,
  { route, socket, service }: MadeRoute,
  looks: ReadonlyMap<string, RunningUnit>,
): Promise<Outcome> {
  if (looks.get(socket.name)!.active && !(await isListenedOn(route.listen))) {
    // systemd holds the former address, or none since it has read of another one
    await context.root`systemctl stop ${socket.name} ${service.name}`
    return 'updated'
  }
  if (runsOtherwise(looks.get(service.name)!, service.content)) {
    // a running forwarder keeps its old target until it is restarted; its socket goes on listening meanwhile
    await context.root`systemctl try-restart ${service.name}`
    return 'updated'
  }
  return 'unchanged'
}

async function remove(context: Context, routes: readonly Route[]): Promise<RouteChange[]> {
  const before = await installed(context)
  const gone: RouteChange[] = []
  for (const route of routes) {
    const held = before.find(other => sameListen(other, route))
    if (held !== undefined) await removeUnits(context, held)
    gone.push({ route, outcome: held === undefined ? 'unchanged' : 'removed' })
  }
  if (gone.some(({ outcome }) => outcome === 'removed')) await context.root`systemctl daemon-reload`
  // also where an earlier run removed the last route and got no further
  if ((await installed(context)).length === 0) {
    await context.openJournal(bootScope).undo()
    for (const { what, state } of await foreign(context)) if (state === 'lost') await removeForeign(context, what)
  }
  return gone
}

async function removeUnits(context: Context, route: Route): Promise<void> {
  await context.openJournal(scopeOf(route.group, route)).undo()
  // units that are not in the journal (its folder was deleted) are ours all the same where they name us
  if (!(await installed(context)).some(other => sameRoute(other, route))) return
  const name = unitName(route)
  await context.root`systemctl disable --now ${name}.socket`
  await context.root`rm -f ${[`${name}.socket`, `${name}.service`].map(file => join(unitFolder, file))}`
}

/** Routes of our units that stand in the unit folder. */
async function installed(context: Context): Promise<Route[]> {
  const [texts, others] = await Promise.all([socketTexts(), foreign(context)])
  return [...texts].flatMap(([path, text]) =>
    others.some(({ what, state }) => what === path && state !== 'lost' && !(context.adopt && state === 'adoptable'))
      ? []
      : (routeOfUnit(text) ?? []),
  )
}

async function foreign(context: Context): Promise<ForeignRoute[]> {
  const names = (await unitFiles()).filter(name => /^macula(-route-.+|-stack|-network)?\.\w+$/.test(name))
  const found = await foreignFiles(
    names.map(name => join(unitFolder, name)),
    context.boot.owner,
    context.boot.root,
  )
  const texts = await socketTexts()
  return found.map(each => {
    const listen = routeOfUnit(texts.get(each.what.replace(/\.service$/, '.socket')) ?? '')?.listen
    return { ...each, ...(listen ? { listen } : {}), remove: () => removeForeign(context, each.what) }
  })
}

async function removeForeign(context: Context, path: string): Promise<void> {
  const name = path.slice(unitFolder.length + 1)
  if (!/^macula-route-.*\.service$/.test(name)) await context.root`systemctl disable --now ${name}`
  await context.root`rm -f ${path}`
}

async function unitExists(name: string): Promise<boolean> {
  const { exitCode } = await $({ nothrow: true })`systemctl cat ${name}`
  return exitCode === 0
}

/** Whether the kernel has just the one route that macula-network.service adds for this network. */
async function isGuarded(ip: string, network: string): Promise<boolean> {
  const routes = await $({ nothrow: true })`${ip} -4 route show proto ${networkProtocol}`.text()
  return [...routes.matchAll(/^unreachable (\S+)/gm)].map(([, its]) => its).join() === network
}

async function unitFiles(): Promise<string[]> {
  return readdir(unitFolder).catch(() => [])
}

/** Texts of the socket units of routes, by path. */
async function socketTexts(): Promise<Map<string, string>> {
  const paths = (await unitFiles())
    .filter(name => /^macula-route-.+\.socket$/.test(name))
    .map(name => join(unitFolder, name))
  return new Map(
    await Promise.all(paths.map(async path => [path, await readFile(path, 'utf8').catch(() => '')] as const)),
  )
}
