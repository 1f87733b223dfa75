#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { stackChecks } from '../lib/doctor/checks.ts'
import { examine, requireNoFailure } from '../lib/doctor/finding.ts'
import { loadPlatform, type Platform, type Service } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { chooseEngine, inspectMachine } from '../lib/routes/choose.ts'
import { publishedPorts } from '../lib/routes/publish.ts'
import { makeWayForPublishing } from '../lib/routes/setup.ts'
import { compose, requireAccepted } from '../lib/stack/compose.ts'
import { requireValidConfigs } from '../lib/stack/config/validate.ts'
import { type Container, projectContainers } from '../lib/stack/docker.ts'
import { engineFacts } from '../lib/stack/engine.ts'
import { areWritten, renderStackFiles, writeStackFiles } from '../lib/stack/files.ts'
import { ensureGrafanaPassword } from '../lib/stack/grafana.ts'
import { mirrored, missingImages, pullImages } from '../lib/stack/image-store.ts'
import {
  adopt,
  describeThing,
  findNotOurs,
  ownershipError,
  requireOwnership,
  settleInstallation,
} from '../lib/stack/ownership.ts'
import { areReady, startableNow, startContainers } from '../lib/stack/stack.ts'
import { badInput } from '../lib/system/errors.ts'
import { lookUp } from '../lib/system/lookup.ts'
import { silentWork } from '../lib/system/stall.ts'
import { counted } from '../lib/system/text.ts'
import { early } from '../lib/system/wait.ts'

export default defineTask({
  name: 'start-infrastructure',
  summary: 'Pull and start all services, and wait until they are healthy',
  replaces: 'infrastructure/start-infrastructure.sh',
  leaves: [
    'images, containers macula-*, network macula-infra and volumes macula_* in the Docker engine (MACULA_PROJECT names them)',
    'rendered configurations and secrets in .macula/, and the id that its containers are labelled with',
    'listeners on 127.0.0.1: 80, 5001 and 5300',
  ],
  undo: 'task stop-infrastructure (containers), task stop-infrastructure -- --volumes (their data), task teardown (everything)',
  options: {
    pull: { type: 'boolean', help: 'pull all images again, also those the engine has' },
    adopt: {
      type: 'boolean',
      help: 'take over what an earlier release created from this checkout, or what is left after its .macula/ was deleted; prompts first',
    },
  },
  positionals: '[SERVICE…]',
  async run({ options, positionals, yes, out, environment }) {
    const paths = pathsOf(environment)
    const platform = await loadPlatform(paths, environment)
    const wanted = servicesNamed(platform, positionals)

    if (options.adopt) {
      const found = await findNotOurs(platform)
      if (found.foreign.length > 0) throw ownershipError(found, platform.settings.MACULA_PROJECT)
      for (const thing of found.adoptable) out.say(`  ${describeThing(thing)}`)
      if (found.adoptable.length > 0 && !yes) {
        if (!out.interactive) {
          const problem = { where: '--adopt', what: 'there is no terminal to prompt on' }
          throw badInput('Taking these over needs a confirmation', [problem], 'Add --yes')
        }
        if (!(await out.confirm('Take these over?'))) return
      }
      await out.step('Take over what is there', async () => {
        await adopt(platform, found)
        return found.adoptable.length === 0 ? 'unchanged' : 'updated'
      })
    }

    const startable = startableNow(platform)
    const now = { ...startable, services: startable.services.filter(service => wanted.includes(service)) }
    const containers = early(projectContainers(platform))
    // some of the services where they run already: whether they run as described, and all else, is for the run that has all of them
    if (positionals.length > 0 && areReady(now, await containers))
      return out.step(`Start ${positionals.join(', ')}`, async () => 'unchanged')
    const owned = early(requireOwnership(platform))
    const home = `home.${platform.domain}`
    const isNamed = async () => (await lookUp([{ name: home, family: 4 }], 1000)(home)).addresses.length > 0
    const wasNamed = early(isNamed())
    const machine = await inspectMachine()
    const engine = chooseEngine(platform.settings.ROUTING, machine)
    const images = now.services.filter(({ isBuilt }) => !isBuilt).map(({ image }) => image)
    const lacking = early(options.pull ? Promise.resolve(images) : missingImages(images))

    let seen: readonly Container[] = []
    await out.step('Check for conflicts', async () => {
      await owned
      seen = await containers
      if (!areReady(now, seen)) requireNoFailure(await examine(stackChecks(platform, machine, engineFacts())))
      return 'unchanged'
    })

    await out.step('Pull images', async progress => {
      const missing = await lacking
      if (missing.length === 0) return 'unchanged'
      await pullImages(missing, image => mirrored(image, platform.settings.IMAGE_MIRROR), progress.update)
      return counted(missing.length, 'image')
    })

    await out.step('Write configurations', async () => {
      const installation = await settleInstallation(paths)
      const ports = engine === 'publish' ? publishedPorts(platform) : {}
      const files = await renderStackFiles(platform, installation, ports)
      if (platform.compose.hasLocalFile || !(await areWritten(paths, files)))
        for (const warning of await requireAccepted(platform, files)) out.warn(warning)
      await requireValidConfigs(platform, files, installation)
      const changed = await writeStackFiles(paths, files)
      return changed.length === 0 ? 'unchanged' : counted(changed.length, 'file')
    })

    if (engine === 'publish')
      await out.step('Free the loopback addresses', () => makeWayForPublishing(platform, machine, 'compose', out))

    await out.step('Start containers', async progress => {
      const shown = {
        waitingFor: (services: readonly string[]) => progress.update(`waiting for ${services.join(', ')}`),
        ready: (service: string, seconds: number) => progress.line(`${service} ready after ${seconds.toFixed(1)} s`),
      }
      const started = await startContainers(
        now,
        seen.filter(({ service }) => positionals.length === 0 || positionals.includes(service)),
        shown,
        (services, signal) =>
          // says nothing while a service that others wait for starts, or while a step of a build of one's own runs
          compose(platform)({
            signal,
            idle: silentWork,
          })`docker compose up --detach --pull missing ${services}`,
      )
      seen = started.containers
      return started.outcome
    })

    if (positionals.length > 0)
      return out.summary(`Running: ${positionals.join(', ')}. All others: task start-infrastructure`)
    await out.step("Set Grafana's password", () => ensureGrafanaPassword(platform, seen))

    out.summary(
      // DNS may have been set up meanwhile
      (await wasNamed) || (await isNamed())
        ? `Every service: http://${home}`
        : `http://${home} links to every service once DNS is set up: task setup-dnsmasq`,
    )
  },
})

/** The services of these names; all where none is named. Throws for names that the catalogue does not have. */
function servicesNamed({ services }: Platform, names: readonly string[]): Service[] {
  const problems = names
    .filter(where => !services.some(({ name }) => name === where))
    .map(where => ({ where, what: `is no service; known: ${services.map(({ name }) => name).join(', ')}` }))
  if (problems.length > 0) throw badInput('These services cannot be started', problems)
  return services.filter(({ name }) => names.length === 0 || names.includes(name))
}
