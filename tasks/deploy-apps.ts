#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import type { Output } from '../lib/cli/output.ts'
import { defineTask } from '../lib/cli/task.ts'
import { type BuiltImage, deployableImages, unusedSources } from '../lib/cluster/application-images.ts'
import { ensureApplied, outcomeOf } from '../lib/cluster/apply.ts'
import {
  applicationsOverlay,
  leftovers,
  liveObjects,
  probeApplications,
  waitForApplications,
} from '../lib/cluster/apps.ts'
import { buildAll, changedIn, requireSources } from '../lib/cluster/build.ts'
import { ensureCertificate, localCa } from '../lib/cluster/certs.ts'
import { applicationNames, applicationsNamespace, type Cluster, clusterOf } from '../lib/cluster/cluster.ts'
import { applyCollector, collectorImage, waitForCollector } from '../lib/cluster/collector.ts'
import { plannedChanges } from '../lib/cluster/existing.ts'
import { identityOf, type KubeObject, kubectlOn } from '../lib/cluster/kubectl.ts'
import { withCertificate, writeOverlay } from '../lib/cluster/kustomize.ts'
import { ensureImagesOnNodes } from '../lib/cluster/node-images.ts'
import { ownNodes } from '../lib/cluster/ownership.ts'
import { unfinishedRollouts } from '../lib/cluster/rollout.ts'
import { ensureScraped } from '../lib/cluster/scrape.ts'
import { loadPlatform, type Platform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { badInput, PlatformError } from '../lib/system/errors.ts'
import { early } from '../lib/system/wait.ts'

export default defineTask({
  name: 'deploy-apps',
  summary: 'Deploy the applications, and wait until each answers at its URL',
  replaces: 'kubectl apply -k apps/',
  leaves: [
    'namespace macula in the cluster, with a Deployment, a Service and an Ingress for each application',
    'namespace macula-collector, which goes with it: collectors of logs, metrics and events, and their rights to read these',
    '.macula/config/prometheus/targets/applications.json: the applications that Prometheus scrapes',
    '.macula/config/portal/applications.json: their versions, for the portal',
  ],
  undo: 'kubectl delete namespace macula, or task delete-cluster',
  options: {
    build: { type: 'boolean', help: 'first build and push what has changed' },
    'no-check': { type: 'boolean', help: 'do not wait until each answers at its URL, as the ingress may not run yet' },
    'only-check': { type: 'boolean', help: 'only wait until each answers at its URL' },
  },
  positionals: '[APPLICATION to build first…]',
  async run({ options, positionals, yes, out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const cluster = clusterOf(platform)
    if (options['only-check']) {
      requireNothingElse({ ...options, 'only-check': false }, positionals)
      return checkUrls(platform, out)
    }
    if (cluster.kind === 'existing' && !yes && !(await isAgreed(platform, cluster, out))) return
    const builds = options.build || positionals.length > 0
    const nodes = cluster.kind === 'kind' ? await ownNodes(platform) : []
    const before = builds ? undefined : early(liveObjects(platform))
    const collector = collectorImage(platform)
    const copied = early(ensureImagesOnNodes(platform, nodes, collector === undefined ? [] : [collector]))
    for (const setting of await unusedSources(platform)) out.warn(`${setting} in .env belongs to no application`)

    if (builds) await build(platform, positionals, out)
    const { objects: live, namespaces } = await (before ?? liveObjects(platform))
    const { certificate } = await ensureCertificate(platform)
    let images: BuiltImage[] = []
    await out.step('Look for the images in the registry', async ({ update }) => {
      const found = await deployableImages(platform, update)
      images = found.images
      return found.outcome
    })
    // beside the applications' own, where the namespace that they share exists
    const collectorApplied =
      collector === undefined || live.length === 0
        ? undefined
        : early(applyCollector(platform, collector, copied, namespaces))
    const overlay = await writeOverlay(
      platform,
      withCertificate(
        await applicationsOverlay(platform, images, { namespace: live.length === 0 }),
        applicationsNamespace,
        certificate,
      ),
    )
    let objects: KubeObject[] = []
    await out.step('Apply the manifests', async () => {
      const changes = await ensureApplied(platform, overlay, live)
      objects = changes.map(({ object }) => object)
      return outcomeOf(changes)
    })
    await removeLeftovers(cluster, leftovers(objects, live), { yes, out })
    // before they answer: Prometheus takes up to five seconds to notice, and has their first figures then
    if (cluster.kind === 'kind')
      await out.step('Add them to what Prometheus scrapes', () =>
        ensureScraped(platform, objects, certificate.certificate),
      )
    let collectors: KubeObject[] = []
    if (collector !== undefined) {
      await out.step('Copy the image of the collector to the nodes', () => copied)
      await out.step("Apply the collector's manifests", async () => {
        const changes = await (collectorApplied ?? applyCollector(platform, collector, copied))
        collectors = changes.map(({ object }) => object)
        return outcomeOf(changes)
      })
    }
    await out.step('Wait for the new pods', async ({ update }) => {
      const rolling = unfinishedRollouts(objects.filter(({ kind }) => kind === 'Deployment'))
      await waitForApplications(platform, rolling, waiting => update(waiting.join(', ')))
      return rolling.length === 0 ? 'unchanged' : 'rolled out'
    })
    if (collector !== undefined)
      await out.step('Wait for the collector', async () => {
        await waitForCollector(platform, collectors)
        return 'unchanged'
      })
    for (const { application, digest } of images) out.say(`    ${application}  ${digest}`)
    if (cluster.kind === 'existing')
      return out.summary(`Deployed to ${cluster.context}. The names have to resolve to that cluster's ingress.`)
    if (!options['no-check']) await checkUrls(platform, out)
  },
})

/** Waits until each application answers at its URL; those on a cluster that is not ours have names that are not ours to check. */
async function checkUrls(platform: Platform, out: Output): Promise<void> {
  if (clusterOf(platform).kind === 'existing') return
  await out.step('Wait until each answers at its URL', async () => {
    const ca = await localCa(platform)
    if (ca === undefined)
      throw new PlatformError('The applications have no certificate yet', { hint: 'task deploy-apps' })
    await probeApplications(platform, ca)
    return 'unchanged'
  })
  out.summary(
    applicationNames(platform)
      .map(name => `http://${name}.${platform.domain}`)
      .join('  '),
  )
}

/** With --only-check nothing is built, deployed or left out: what asks for it is refused. */
function requireNothingElse(others: Readonly<Record<string, unknown>>, applications: readonly string[]): void {
  const given = [...Object.keys(others).flatMap(name => (others[name] ? [`--${name}`] : [])), ...applications]
  const problems = given.map(where => ({ where, what: 'does not go with --only-check' }))
  if (problems.length > 0) throw badInput('deploy-apps does not take these together', problems)
}

/** Whether a person agrees to what will be done to a cluster that is not ours. */
async function isAgreed(platform: Platform, cluster: Cluster, out: Output): Promise<boolean> {
  for (const line of plannedChanges(cluster, applicationNames(platform))) out.say(`  ${line}`)
  if (out.interactive) return out.confirm(`Deploy to ${cluster.context}?`)
  const problem = { where: 'CLUSTER=existing', what: 'there is no terminal for the prompt' }
  throw badInput(`Deploying to ${cluster.context} needs a confirmation`, [problem], 'task deploy-apps -- --yes')
}

async function build(platform: Platform, applications: readonly string[], out: Output): Promise<void> {
  const sources = await requireSources(platform, applications)
  await out.step(`Build and push ${sources.map(({ application }) => application).join(', ')}`, async progress =>
    changedIn(await buildAll(platform, sources, progress)),
  )
}

/** Removes what applications that are gone have left, where somebody agrees. */
async function removeLeftovers(
  cluster: Cluster,
  old: readonly KubeObject[],
  { yes, out }: { yes: boolean; out: Output },
): Promise<void> {
  if (old.length === 0) return
  const names = old.map(identityOf).join(', ')
  if (!yes && !out.interactive)
    return out.warn(`Left over from applications that are gone: ${names}. Remove them: task deploy-apps -- --yes`)
  if (!yes && !(await out.confirm(`Remove what the catalogue does not name any more: ${names}?`))) return
  await out.step(`Remove ${names}`, async () => {
    const objects = old.map(({ kind, metadata }) => `${kind}/${metadata.name}`)
    await kubectlOn(cluster)`delete --namespace ${applicationsNamespace} --ignore-not-found ${objects}`
    return 'removed'
  })
}
