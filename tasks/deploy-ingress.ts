#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { readFile } from 'node:fs/promises'
import { defineTask } from '../lib/cli/task.ts'
import { ensureCertificate, trustCommand } from '../lib/cluster/certs.ts'
import { notOurs } from '../lib/cluster/cluster.ts'
import { ensureIngress, imagesIn, ingressObjects, retirementNotice, waitForIngress } from '../lib/cluster/ingress.ts'
import { existingNodes } from '../lib/cluster/lifecycle.ts'
import { ensureImagesOnNodes } from '../lib/cluster/node-images.ts'
import { isTrusted, type TrustStore, trustCa, trustStoreOf } from '../lib/cluster/trust.ts'
import { openJournal } from '../lib/journal/journal.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { type Paths, pathsOf } from '../lib/platform/settings.ts'
import { PlatformError } from '../lib/system/errors.ts'
import { detectHost } from '../lib/system/machine.ts'
import { acquireRoot, asRoot, type Privilege } from '../lib/system/privilege.ts'

export default defineTask({
  name: 'deploy-ingress',
  summary: 'Deploy the ingress controller, with a certificate of a local CA',
  replaces: 'kubectl apply -f …/ingress-nginx/…/kind/deploy.yaml',
  leaves: [
    'namespace ingress and IngressClass nginx in the cluster',
    '.macula/tls: a CA and a certificate',
    'with --trust, or a yes when asked: that CA among those this machine believes in; teardown takes it out',
  ],
  undo: 'task delete-cluster',
  options: {
    trust: { type: 'boolean', help: 'let this machine believe in the local CA; never done unasked, nor by --yes' },
  },
  async run({ options, yes, out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
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

    const store = await trustStoreOf(await detectHost(platform.settings.MACULA_OS))
    const byHand = trustCommand(certificate)
    if (options.trust && store === undefined)
      throw new PlatformError('How this machine learns to believe in a CA is not known to the platform', {
        hint: byHand,
      })
    const trusted = store !== undefined && (await isTrusted(store, ca))
    const offered = !yes && !options.trust && out.interactive && outcome === 'created' && !trusted
    const question = `Let this machine believe in the CA ${certificate.caFile}, so that https://… needs no exception?`
    if (store && (options.trust || (offered && (await out.confirm(question)))))
      await out.step(`Believe in ${certificate.caFile}`, async () => {
        const { interactive, say } = out
        return trustCa(store, ca, await journalFor(store, ca, platform.paths, { interactive, say }))
      })
    else if (!trusted)
      return out.summary(
        `https://… is signed by ${certificate.caFile}. Believe in it: ${store && !certificate.mkcert ? 'task deploy-ingress -- --trust' : byHand}`,
      )
    out.summary(`https://… is signed by ${certificate.caFile}, and this machine believes in it`)
  },
})

/** The journal of what is changed for this, as root where that is needed; no root for a store that has the CA. */
async function journalFor(
  store: TrustStore,
  ca: string,
  { stateDir }: Paths,
  asking: { interactive: boolean; say: (text: string) => void },
) {
  const open = (privilege: Privilege, dryRun: boolean) => openJournal({ stateDir, privilege, scope: 'trust', dryRun })
  const preview = open(asRoot, true)
  await trustCa(store, ca, preview)
  const commands = preview.planned.map(({ command }) => command)
  return open(
    commands.length === 0 ? asRoot : await acquireRoot({ reason: `change ${store.file}`, commands, ...asking }),
    false,
  )
}
