import { readFile } from 'node:fs/promises'
import {
  applicationObjects,
  applyApplications,
  deployableImages,
  leftovers,
  probeApplications,
  removeLeftovers,
  waitForApplications,
} from '../lib/cluster/apps.ts'
import { ensureCertificate } from '../lib/cluster/certs.ts'
import { applicationNames, clusterOf } from '../lib/cluster/cluster.ts'
import { plannedChanges } from '../lib/cluster/existing.ts'
import { identityOf, type KubeObject } from '../lib/cluster/kubectl.ts'
import { placesOf } from '../lib/env.ts'
import { badInput } from '../lib/errors.ts'
import { loadPlatform } from '../lib/platform.ts'
import { defineTask } from '../lib/task.ts'

export default defineTask({
  name: 'deploy-apps',
  summary: 'Deploy the applications, and wait until each answers at its URL',
  replaces: 'kubectl apply -k apps/',
  leaves: ['namespace macula in the cluster, with a Deployment, a Service and an Ingress for each application'],
  undo: 'kubectl delete namespace macula, or task delete-cluster',
  options: {},
  async run({ yes, out, environment }) {
    const platform = await loadPlatform(placesOf(environment), environment)
    const cluster = clusterOf(platform)
    const images = await deployableImages(platform)
    if (cluster.kind === 'existing' && !yes) {
      for (const line of plannedChanges(cluster, applicationNames(platform))) out.say(`  ${line}`)
      if (!out.interactive) {
        const problem = { where: 'CLUSTER=existing', what: 'there is no terminal to ask on' }
        throw badInput(`Deploying to ${cluster.context} needs a yes`, [problem], 'npm run deploy-apps -- --yes')
      }
      if (!(await out.confirm(`Deploy to ${cluster.context}?`))) return
    }

    const [{ certificate }, objects] = await Promise.all([
      ensureCertificate(platform),
      applicationObjects(platform, images),
    ])
    let old: KubeObject[] = []
    await out.step('Apply the manifests', async () => {
      const [applied, found] = await Promise.all([
        applyApplications(platform, objects, certificate),
        leftovers(platform, objects),
      ])
      old = found
      return applied
    })
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
      let waited = false
      await waitForApplications(platform, objects, waiting => {
        waited = true
        progress.update(waiting.join(', '))
      })
      return waited ? 'rolled out' : 'unchanged'
    })
    for (const { application, digest } of images) out.say(`    ${application}  ${digest}`)
    if (cluster.kind === 'existing')
      return out.summary(`Deployed to ${cluster.context}. Their names have to lead to that cluster's ingress.`)
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
