import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Journal, Outcome } from '../journal/journal.ts'
import type { Route } from '../platform/platform.ts'
import { args, ask } from '../system/exec.ts'
import { exists } from '../system/files.ts'
import { programPath } from '../system/machine.ts'
import { isListenedOn } from '../system/ports.ts'
import { lookAtUnits, type RunningUnit, runsOtherwise } from '../system/systemd.ts'
import { type OpenJournal, type RouteChange, type RouteEngine, sameListen, sameRoute, scopeOf } from './engine.ts'
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
const reload = args`systemctl daemon-reload`

/** A route with its units as they should be, and what writing them changed. */
interface MadeRoute extends RouteChange {
  outcome: Outcome
  socket: Unit
  service: Unit
}

export interface SystemdOptions {
  openJournal: OpenJournal
  /** Path of systemd-socket-proxyd. */
  proxy: string
  boot: BootUnits
}

/** Routes as pairs of a socket unit, which systemd itself holds, and systemd-socket-proxyd behind it; started at boot by macula.target. */
export function systemdEngine({ openJournal, proxy, boot }: SystemdOptions): RouteEngine {
  const $: Journal['$'] = (pieces, ...values) => openJournal(bootScope).$(pieces, ...values)

  async function write(scope: string, units: readonly Unit[]): Promise<Outcome> {
    const journal = openJournal(scope)
    const outcomes: Outcome[] = []
    for (const { name, content } of units) outcomes.push(await journal.writeFile(join(unitFolder, name), content))
    return outcomes.find(outcome => outcome !== 'unchanged') ?? 'unchanged'
  }

  async function apply(routes: readonly Route[]): Promise<RouteChange[]> {
    if (routes.length === 0) return remove([])
    for (const scope of new Set([bootScope, ...routes.map(({ group }) => scopeOf(group))]))
      await openJournal(scope).afterUndo(reload)
    const ip = await programPath('ip')
    const { target, stack, network } = await bootUnits(boot, ip ?? '')
    // An engine that systemd does not start (rootless, Podman) is nothing that a unit of ours could wait for, and before the first
    // start of the containers there is nothing to bring up.
    const startsStack =
      (await unitExists('docker.service')) && (await exists(join(boot.stateDir, 'docker-compose.yml')))
    const shared = [target, ...(startsStack ? [stack] : []), ...(ip === undefined ? [] : [network])]
    let changed = (await write(bootScope, shared)) !== 'unchanged'
    // the same address under another name: two socket units cannot share it
    const renamed = (await installedRoutes()).filter(held =>
      routes.some(route => sameListen(held, route) && unitName(held) !== unitName(route)),
    )
    for (const route of renamed) await takeAway(route)
    const made: MadeRoute[] = []
    for (const route of routes) {
      const { socket, service } = await routeUnits(route, proxy)
      const outcome = await write(scopeOf(route.group, route), [socket, service])
      changed ||= outcome !== 'unchanged'
      made.push({ route, socket, service, outcome })
    }
    const names = [...shared, ...made.flatMap(({ socket, service }) => [socket, service])].map(({ name }) => name)
    const looks = new Map((await lookAtUnits(names)).map((look, index) => [names[index]!, look]))
    // what an earlier run wrote and did not come to tell systemd of counts as well
    if (changed || [...looks.values()].some(({ isOutdated }) => isOutdated)) await $`systemctl daemon-reload`
    await openJournal(bootScope).enableUnits(shared.map(({ name }) => ({ unit: name })))
    // its start takes away what it did for a network that the settings do not name any more
    if (ip && looks.get(network.name)?.active && !(await isGuarded(ip, boot.network)))
      await $`systemctl restart ${network.name}`
    const refreshed: Outcome[] = []
    for (const each of made)
      refreshed.push(await refresh(each, looks.get(each.socket.name)!, looks.get(each.service.name)!))
    const enabled = await openJournal('routes').enableUnits(
      made.map(({ route, socket }) => ({ unit: socket.name, scope: scopeOf(route.group, route) })),
    )
    return made.map(({ route, outcome }, index) => ({
      route,
      outcome: [outcome, refreshed[index]!, enabled[index]!].find(each => each !== 'unchanged') ?? 'unchanged',
    }))
  }

  /** Has systemd go by the units as they are now, where it still goes by what they were. */
  async function refresh(
    { route, socket, service }: MadeRoute,
    listening: RunningUnit,
    forwarding: RunningUnit,
  ): Promise<Outcome> {
    if (listening.active && !(await isListenedOn(route.listen))) {
      // systemd holds the address of before, or none since it has read of another one
      await $`systemctl stop ${socket.name} ${service.name}`
      return 'updated'
    }
    if (runsOtherwise(forwarding, service.content)) {
      // a running forwarder knows its old target until it is started anew; its socket goes on listening meanwhile
      await $`systemctl try-restart ${service.name}`
      return 'updated'
    }
    return 'unchanged'
  }

  async function remove(routes: readonly Route[]): Promise<RouteChange[]> {
    const before = await installedRoutes()
    const gone: RouteChange[] = []
    for (const route of routes) {
      const held = before.find(other => sameListen(other, route))
      if (held !== undefined) await takeAway(held)
      gone.push({ route, outcome: held === undefined ? 'unchanged' : 'removed' })
    }
    if (gone.some(({ outcome }) => outcome === 'removed')) await $`systemctl daemon-reload`
    // also where an earlier run took the last route away and came no further
    if ((await installedRoutes()).length === 0) await openJournal(bootScope).undo()
    return gone
  }

  async function takeAway(route: Route): Promise<void> {
    const unit = unitName(route)
    await openJournal(scopeOf(route.group, route)).undo()
    // units that the journal does not know (its folder was deleted) are ours all the same: their text says so
    if (!(await installedRoutes()).some(other => sameRoute(other, route))) return
    await $`systemctl disable --now ${unit}.socket`
    const files = [`${unit}.socket`, `${unit}.service`].map(name => join(unitFolder, name))
    await $`rm -f ${files}`
  }

  return { name: 'systemd', installed: installedRoutes, apply, remove }
}

async function unitExists(name: string): Promise<boolean> {
  return (await ask(['systemctl', 'cat', name])).exitCode === 0
}

/** Whether the kernel has just the one route that macula-network.service adds for this network. */
async function isGuarded(ip: string, network: string): Promise<boolean> {
  const { stdout } = await ask([ip, '-4', 'route', 'show', 'proto', networkProtocol])
  return [...stdout.matchAll(/^unreachable (\S+)/gm)].map(([, its]) => its).join() === network
}

/** Routes of the units that stand in the unit folder. */
async function installedRoutes(): Promise<Route[]> {
  const names = await readdir(unitFolder).catch(() => [])
  const texts = await Promise.all(
    names
      .filter(name => /^macula-route-.+\.socket$/.test(name))
      .map(name => readFile(join(unitFolder, name), 'utf8').catch(() => '')),
  )
  return texts.map(routeOfUnit).filter(route => route !== undefined)
}
