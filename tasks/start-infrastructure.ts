#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { stackChecks } from '../lib/doctor/checks.ts'
import { examine, requireNoFailure } from '../lib/doctor/finding.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { chooseEngine, inspectMachine } from '../lib/routes/choose.ts'
import { publishedPorts } from '../lib/routes/publish.ts'
import { makeWayForPublishing } from '../lib/routes/setup.ts'
import { type Container, projectContainers } from '../lib/stack/docker.ts'
import { ensureGrafanaPassword } from '../lib/stack/grafana.ts'
import { missingImages, pullImages } from '../lib/stack/image-store.ts'
import { areReady, startableNow, startContainers, writeStackFiles } from '../lib/stack/stack.ts'
import { bytes, counted } from '../lib/system/text.ts'

export default defineTask({
  name: 'start-infrastructure',
  summary: 'Pull and start all services, and wait until they are healthy',
  replaces: 'infrastructure/start-infrastructure.sh',
  leaves: [
    'images, containers macula-*, network macula-infra and volumes macula_* in the Docker engine (MACULA_PROJECT names them)',
    'rendered configurations and secrets in .macula/',
    'listeners on 127.0.0.1: 80, 5001 and 5300',
  ],
  undo: 'task stop-infrastructure (containers), task stop-infrastructure -- --volumes (their data), task teardown (everything)',
  options: {
    pull: { type: 'boolean', help: 'pull all images again, also those the engine has' },
  },
  async run({ options, out, environment }) {
    const paths = pathsOf(environment)
    const platform = await loadPlatform(paths, environment)
    const asked = projectContainers(platform)
    // what these say of trouble is told about in the steps that need them
    asked.catch(() => {})
    const machine = await inspectMachine()
    const now = startableNow(platform)
    const engine = chooseEngine(platform.settings.ROUTING, machine)
    const images = now.services.map(({ image }) => image)

    const lacking = options.pull ? Promise.resolve(images) : missingImages(images)
    lacking.catch(() => {})
    let seen: Container[] = []
    await out.step('Look for what is in the way', async () => {
      seen = await asked
      if (areReady(now, seen)) return 'unchanged'
      requireNoFailure(await examine(stackChecks(platform, machine)))
      return 'unchanged'
    })

    await out.step('Have the images', async progress => {
      const missing = await lacking
      if (missing.length === 0) return 'unchanged'
      await pullImages(missing, platform.settings.IMAGE_MIRROR, pulls =>
        progress.update(
          pulls.map(({ image, current, total }) => `${image} ${bytes(current)} of ${bytes(total)}`).join(', '),
        ),
      )
      return counted(missing.length, 'image')
    })

    await out.step('Write configurations', async () => {
      const changed = await writeStackFiles(platform, engine === 'publish' ? publishedPorts(platform) : {})
      return changed.length === 0 ? 'unchanged' : counted(changed.length, 'file')
    })

    if (engine === 'publish') {
      await out.step('Make way on the loopback addresses', () =>
        makeWayForPublishing(platform, machine, 'compose', out),
      )
    }

    await out.step('Start the containers', async progress => {
      const outcome = await startContainers(now, seen, {
        waitingFor: services => progress.update(`waiting for ${services.join(', ')}`),
        ready: (service, seconds) => progress.line(`${service} ready after ${seconds.toFixed(1)} s`),
      })
      if (outcome !== 'unchanged') seen = await projectContainers(platform)
      return outcome
    })

    await out.step("Settle Grafana's password", () => ensureGrafanaPassword(platform, seen))

    out.summary(`http://home.${platform.domain} leads to every service once DNS is set up: task setup-dnsmasq`)
  },
})
