import { join } from 'node:path'
import { loadPlatform, type Platform, type Route } from '../platform/platform.ts'
import { pathsOf } from '../platform/settings.ts'
import { applyRoutes, foreignRoutes, verifyRoutes } from '../routes/apply.ts'
import { chooseEngine, inspectMachine } from '../routes/choose.ts'
import { type EngineName, means, type RouteChange, type RouteCommands } from '../routes/engine.ts'
import { installForwarder, needsRoot, openRouting } from '../routes/setup.ts'
import { unitFolder } from '../routes/units.ts'
import { addressText } from '../system/address.ts'
import { requireWritable } from '../system/files.ts'
import type { Outcome, StepProgress } from '../system/progress.ts'
import { counted } from '../system/text.ts'
import { changeMachine } from './change.ts'
import { defineTask, type TaskDefinition } from './task.ts'

export interface RoutingTask {
  name: string
  summary: string
  replaces: string
  /** Whose routes the task is in charge of, also of those that are not wanted any more. */
  owns: (group: string) => boolean
  /** The routes that should exist; by default those of the catalogue that are owned. */
  routesOf?: (platform: Platform) => Route[]
  /** How each of them is forwarded. */
  commands: RouteCommands
}

/** A task that forwards routes, or with `--remove` removes them: install what forwards, run the command for each route, look from outside. */
export function defineRoutingTask({ name, summary, replaces, owns, routesOf, commands }: RoutingTask): TaskDefinition {
  return defineTask({
    name,
    summary,
    replaces,
    leaves: [
      'with systemd: units macula-route-*, macula-network, macula-stack and macula.target in /etc/systemd/system',
      'without: the package socat, where it was missing, and a socat process for each address',
      'with ROUTING=publish nothing: there the containers themselves listen',
    ],
    undo: `task ${name} -- --remove, or task teardown`,
    options: {
      remove: { type: 'boolean', help: 'remove the routes instead' },
      'dry-run': { type: 'boolean', onlyLooks: true, help: 'only say what would be changed on this machine' },
      adopt: { type: 'boolean', help: 'take over what this checkout set up before its state folder was lost' },
    },
    async run({ options, yes, out, environment }) {
      const paths = pathsOf(environment)
      const [platform, machine] = await Promise.all([loadPlatform(paths, environment), inspectMachine()])
      const engine = chooseEngine(platform.settings.ROUTING, machine)
      const routes = options.remove ? [] : (routesOf?.(platform) ?? platform.routes.filter(({ group }) => owns(group)))

      const adopt = options.adopt ?? false
      let changes: RouteChange[] = []
      const change = {
        task: name,
        out,
        paths,
        yes,
        adopt,
        dryRun: options['dry-run'] ?? false,
        reason: options.remove ? 'remove routes' : `forward ${counted(routes.length, 'route')} to containers`,
        needsRoot: (planned: Parameters<typeof needsRoot>[2]) => needsRoot(engine, changes, planned),
      }
      const isDone = await changeMachine(
        change,
        async ({ open, step, owner, privilege, isPreview, dryRun, requireOurs }) => {
          const routing = openRouting(platform, { engine, machine, privilege, owner, open, commands, adopt, dryRun })
          const lost = options.remove ? [] : await foreignRoutes(routes, routing)
          requireOurs(lost)
          for (const each of lost) await each.remove()
          if (engine === 'systemd' && !isPreview && changes.some(({ outcome }) => outcome !== 'unchanged'))
            await requireWritable(join(unitFolder, 'macula.target'), privilege)

          if (engine === 'socat' && !options.remove)
            await step('Install socat', () => installForwarder(platform, { engine, open }))

          await step(options.remove ? 'Remove the routes' : title(routes.length, engine), async progress => {
            changes = await applyRoutes(routes, owns, routing)
            return showChanges(changes, progress)
          })

          if (!isPreview && !options.remove)
            await step('Look from outside', progress => lookFromOutside(changes, platform, progress))
        },
      )
      if (!isDone) return
      if (options.remove) out.summary('The routes are removed. To make them again: the same without --remove')
      else out.summary(`${counted(routes.length, 'route')} to containers. Look: task status`)
    },
  }) as TaskDefinition
}

function showChanges(changes: readonly RouteChange[], progress: StepProgress): Outcome {
  const changed = changes.filter(({ outcome }) => outcome !== 'unchanged' && outcome !== 'pending')
  for (const { route, outcome } of changed)
    progress.line(`${addressText(route.listen)} → ${addressText(route.target)}  ${route.service}  ${outcome}`)
  return changed.length === 0 ? 'unchanged' : counted(changed.length, 'route')
}

/** Names the routes that have nothing behind them yet. Throws where one does not work. */
async function lookFromOutside(
  changes: readonly RouteChange[],
  platform: Platform,
  progress: StepProgress,
): Promise<Outcome> {
  const there = changes.filter(({ outcome }) => outcome !== 'pending' && outcome !== 'removed')
  const healths = await verifyRoutes(
    there.map(({ route }) => route),
    platform,
  )
  for (const { route, state, detail } of healths)
    if (state === 'idle') progress.line(`${addressText(route.listen)}  ${detail}`)
  for (const { route, outcome } of changes)
    if (outcome === 'pending')
      progress.line(
        `${addressText(route.listen)}  nothing behind it yet: ${route.service} listens here once it is created`,
      )
  return 'unchanged'
}

function title(count: number, engine: EngineName): string {
  return count === 0 ? 'No routes to make' : `Forward ${counted(count, 'route')} with ${means[engine]}`
}
