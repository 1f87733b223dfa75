import { join } from 'node:path'
import { loadPlatform, type Platform, type Route } from '../platform/platform.ts'
import { pathsOf } from '../platform/settings.ts'
import { applyRoutes, verifyRoutes } from '../routes/apply.ts'
import { chooseEngine, inspectMachine } from '../routes/choose.ts'
import { type EngineName, means } from '../routes/engine.ts'
import { ensureForwarder, needsRoot, openRouting } from '../routes/setup.ts'
import { unitFolder } from '../routes/units.ts'
import { addressText } from '../system/address.ts'
import { requireWritable } from '../system/files.ts'
import { acquireRoot, asRoot } from '../system/privilege.ts'
import { counted } from '../system/text.ts'
import { defineTask, type TaskDefinition } from './task.ts'

export interface RoutingTask {
  name: string
  summary: string
  replaces: string
  /** Whose routes the task is in charge of, also of those that are not wanted any more. */
  owns: (group: string) => boolean
  /** The routes that should exist; by default those of the catalogue that are owned. */
  routesOf?: (platform: Platform) => Route[]
}

/** A task that brings routes into place, or with `--remove` takes them away; all of them go these steps. */
export function defineRoutingTask({ name, summary, replaces, owns, routesOf }: RoutingTask): TaskDefinition {
  return defineTask({
    name,
    summary,
    replaces,
    leaves: [
      'with systemd: units macula-route-*, macula-network, macula-stack and macula.target in /etc/systemd/system',
      'without: the package socat, where it was missing, and a socat process per address',
      'with ROUTING=publish nothing: there the containers themselves listen',
    ],
    undo: `task ${name} -- --remove, or task teardown`,
    options: {
      remove: { type: 'boolean', help: 'take the routes away instead' },
      'dry-run': { type: 'boolean', help: 'only say what would be changed on this machine' },
    },
    async run({ options, out, environment }) {
      const [platform, machine] = await Promise.all([loadPlatform(pathsOf(environment), environment), inspectMachine()])
      const engine = chooseEngine(platform.settings.ROUTING, machine)
      const wanted = options.remove ? [] : (routesOf?.(platform) ?? platform.routes.filter(({ group }) => owns(group)))

      const dry = { engine, machine, privilege: asRoot, dryRun: true }
      const preview = openRouting(platform, dry)
      const forwarder = options.remove ? [] : (await ensureForwarder(platform, dry)).planned
      const changes = await applyRoutes(wanted, owns, preview)
      const planned = [...forwarder, ...preview.planned()]
      if (options['dry-run']) {
        for (const { what } of planned) out.result(what)
        return out.summary(planned.length === 0 ? 'Nothing would be changed.' : 'Nothing was changed (--dry-run).')
      }

      const privilege = (await needsRoot(engine, changes, planned))
        ? await acquireRoot({
            reason: `lead ${counted(wanted.length, 'route')} to containers (${counted(planned.length, 'change')}; --dry-run lists them)`,
            commands: planned.map(({ command }) => command),
            interactive: out.interactive,
            say: out.say,
          })
        : asRoot
      if (engine === 'systemd' && planned.length > 0)
        await requireWritable(join(unitFolder, 'macula.target'), privilege)
      const real = { engine, machine, privilege }
      if (forwarder.length > 0)
        await out.step('Install socat', async () => (await ensureForwarder(platform, real)).outcome)
      await out.step(options.remove ? 'Take the routes away' : title(wanted.length, engine), async progress => {
        const isDone = planned.length === 0 && changes.every(({ outcome }) => outcome === 'unchanged')
        const done = isDone ? [] : await applyRoutes(wanted, owns, openRouting(platform, real))
        const changed = done.filter(({ outcome }) => outcome !== 'unchanged')
        for (const { route, outcome } of changed)
          progress.line(`${addressText(route.listen)} → ${addressText(route.target)}  ${route.service}  ${outcome}`)
        return changed.length === 0 ? 'unchanged' : counted(changed.length, 'route')
      })
      if (options.remove) return out.summary('The routes are gone. Back again: the same without --remove')
      await out.step('Look from outside', async progress => {
        const idle = (await verifyRoutes(wanted, platform)).filter(({ state }) => state === 'idle')
        for (const { route, detail } of idle) progress.line(`${addressText(route.listen)}  ${detail}`)
        return 'unchanged'
      })
      out.summary(`${counted(wanted.length, 'route')} to containers. Look: task status`)
    },
  }) as TaskDefinition
}

function title(count: number, engine: EngineName): string {
  return count === 0 ? 'No routes to make' : `Make ${counted(count, 'route')} to containers with ${means[engine]}`
}
