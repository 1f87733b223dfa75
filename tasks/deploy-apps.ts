#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { readFile } from 'node:fs/promises'
import { defineTask } from '../lib/cli/task.ts'
import {
  applicationObjects,
  applyApplications,
  deployableImages,
  leftovers,
  liveObjects,
  probeApplications,
  removeLeftovers,
  waitForApplications,
  withImages,
} from '../lib/cluster/apps.ts'
import { buildAll, changedIn, requireSources } from '../lib/cluster/build.ts'
import { ensureCertificate } from '../lib/cluster/certs.ts'
import { applicationNames, clusterOf } from '../lib/cluster/cluster.ts'
import { plannedChanges } from '../lib/cluster/existing.ts'
import { identityOf } from '../lib/cluster/kubectl.ts'
import { ensureScraped } from '../lib/cluster/scrape.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { badInput } from '../lib/system/errors.ts'

export default defineTask({
  name: 'deploy-apps',
  summary: 'Deploy the applications, and wait until each answers at its URL',
  replaces: 'kubectl apply -k apps/',
  leaves: [
    'namespace macula in the cluster, with a Deployment, a Service and an Ingress for each application',
    '.macula/config/prometheus/targets/applications.json: what Prometheus scrapes of them',
  ],
  undo: 'kubectl delete namespace macula, or task delete-cluster',
  options: { build: { type: 'boolean', help: 'build and push first what has changed' } },
  positionals: '[APPLICATION to build first…]',
  async run({ options, positionals, yes, out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const cluster = clusterOf(platform)
    if (cluster.kind === 'existing' && !yes) {
      for (const line of plannedChanges(cluster, applicationNames(platform))) out.say(`  ${line}`)
      if (!out.interactive) {
        const problem = { where: 'CLUSTER=existing', what: 'there is no terminal to ask on' }
        throw badInput(`Deploying to ${cluster.context} needs a yes`, [problem], 'task deploy-apps -- --yes')
      }
      if (!(await out.confirm(`Deploy to ${cluster.context}?`))) return
    }

    const preparing = Promise.all([ensureCertificate(platform), applicationObjects(platform), liveObjects(platform)])
    // whatever is wrong with these is said once the images are there
    preparing.catch(() => {})
    if (options.build || positionals.length > 0) {
      const sources = await requireSources(platform, positionals)
      await out.step(`Build and push ${sources.map(({ application }) => application).join(', ')}`, async progress =>
        changedIn(await buildAll(platform, sources, progress)),
      )
    }
    const images = await deployableImages(platform)
    const [{ certificate }, templates, live] = await preparing
    const objects = withImages(templates, images)
    let applied: Awaited<ReturnType<typeof applyApplications>> = { outcome: 'unchanged', rolling: [] }
    await out.step('Apply the manifests', async () => {
      applied = await applyApplications(platform, objects, certificate, live)
      return applied.outcome
    })
    const old = leftovers(objects, live)
    if (old.length > 0) {
      const names = old.map(identityOf).join(', ')
      if (
        yes ||
        (out.interactive && (await out.confirm(`Remove what the catalogue does not name any more: ${names}?`)))
      )
        await out.step(`Remove ${names}`, async () => {
          await removeLeftovers(platform, old)
          return 'removed'
        })
      else out.warn(`Left over from applications that are gone: ${names}. Remove them: task deploy-apps -- --yes`)
    }
    await out.step('Wait for the new pods', async progress => {
      await waitForApplications(platform, applied.rolling, waiting => progress.update(waiting.join(', ')))
      return applied.rolling.length === 0 ? 'unchanged' : 'rolled out'
    })
    for (const { application, digest } of images) out.say(`    ${application}  ${digest}`)
    if (cluster.kind === 'existing')
      return out.summary(`Deployed to ${cluster.context}. Their names have to lead to that cluster's ingress.`)
    await out.step('Have Prometheus scrape them', () => ensureScraped(platform, objects))
    const ca = await readFile(certificate.caFile, 'utf8')
    await out.step('Ask each application at its URL', async () => {
      await probeApplications(platform, ca)
      return 'unchanged'
    })
    out.summary(
      applicationNames(platform)
        .map(name => `http://${name}.${platform.domain}`)
        .join('  '),
    )
  },
})
