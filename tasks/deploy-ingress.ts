import { readFile } from 'node:fs/promises'
import { ensureCertificate, trustCommand } from '../lib/cluster/certs.ts'
import { notOurs } from '../lib/cluster/cluster.ts'
import { ensureIngress, imagesIn, ingressObjects, retirementNotice, waitForIngress } from '../lib/cluster/ingress.ts'
import { existingNodes } from '../lib/cluster/lifecycle.ts'
import { ensureImagesOnNodes } from '../lib/cluster/node-images.ts'
import { placesOf } from '../lib/env.ts'
import { loadPlatform } from '../lib/platform.ts'
import { defineTask } from '../lib/task.ts'

export default defineTask({
  name: 'deploy-ingress',
  summary: 'Deploy the ingress controller, with a certificate of a local CA',
  replaces: 'kubectl apply -f …/ingress-nginx/…/kind/deploy.yaml',
  leaves: ['namespace ingress and IngressClass nginx in the cluster', '.macula/tls: a CA and a certificate'],
  undo: 'task delete-cluster',
  options: {},
  async run({ out, environment }) {
    const platform = await loadPlatform(placesOf(environment), environment)
    const foreign = notOurs(platform)
    if (foreign !== undefined) return out.summary(foreign)
    const nodes = await existingNodes(platform)
    const { outcome, certificate } = await ensureCertificate(platform)
    const ca = await readFile(certificate.caFile, 'utf8')

    out.title(`Ingress: ${platform.settings.INGRESS_CONTROLLER}`)
    await out.step('Have the image on the nodes', async () =>
      ensureImagesOnNodes(platform, nodes, imagesIn(await ingressObjects(platform))),
    )
    await out.step('Deploy the controller', async () => {
      const deployed = await ensureIngress(platform, certificate)
      if (deployed === 'created' && platform.settings.INGRESS_CONTROLLER === 'nginx') out.warn(retirementNotice)
      return deployed
    })
    await out.step('Wait until it serves', async () => {
      await waitForIngress(platform, ca)
      return 'unchanged'
    })
    out.summary(
      outcome === 'created'
        ? `Browsers believe in https://… once you trust the CA: ${trustCommand(certificate)}`
        : `https://… is signed by ${certificate.caFile}`,
    )
  },
})
