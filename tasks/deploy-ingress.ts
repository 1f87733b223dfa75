#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { readFile } from 'node:fs/promises'
import { defineTask } from '../lib/cli/task.ts'
import { ensureApplied, outcomeOf } from '../lib/cluster/apply.ts'
import { ensureCertificate, trustCommand } from '../lib/cluster/certs.ts'
import { clusterOf, ingressNamespace, notInCharge } from '../lib/cluster/cluster.ts'
import {
  ingressImage,
  ingressOverlay,
  renewApplicationsCertificate,
  retirementNotice,
  waitForIngress,
} from '../lib/cluster/ingress.ts'
import { withCertificate, writeOverlay } from '../lib/cluster/kustomize.ts'
import { ensureImagesOnNodes } from '../lib/cluster/node-images.ts'
import { requireNodes } from '../lib/cluster/ownership.ts'
import { unfinishedRollouts, waitForRollout } from '../lib/cluster/rollout.ts'
import { isOutdated, isTrusted, trustCa, trustStoreOf } from '../lib/cluster/trust.ts'
import { type Journal, openJournal } from '../lib/journal/journal.ts'
import { ensureInstallation } from '../lib/platform/installation.ts'
import { loadPlatform } from '../lib/platform/platform.ts'
import { type Paths, pathsOf } from '../lib/platform/settings.ts'
import { PlatformError } from '../lib/system/errors.ts'
import { detectHost } from '../lib/system/machine.ts'
import { acquireRoot, asRoot, type Privilege, type PrivilegeNeed } from '../lib/system/privilege.ts'

export default defineTask({
  name: 'deploy-ingress',
  summary: 'Deploy the ingress controller, with a certificate of a local CA',
  replaces: 'kubectl apply -f …/ingress-nginx/…/kind/deploy.yaml',
  leaves: [
    'namespace ingress and IngressClass nginx in the cluster',
    '.macula/tls: a CA and a certificate',
    'with --trust, or after a prompt: that CA among those that this machine trusts; teardown removes it',
  ],
  undo: 'task delete-cluster',
  options: {
    trust: { type: 'boolean', help: 'have this machine trust the local CA; never done by default, nor by --yes' },
  },
  async run({ options, yes, out, environment }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    const reason = notInCharge(platform)
    if (reason !== undefined) return out.summary(reason)
    const nodes = await requireNodes(platform)
    const cluster = clusterOf(platform)
    const { outcome, certificate } = await ensureCertificate(platform)
    const ca = await readFile(certificate.caFile, 'utf8')

    out.title(`Ingress: ${platform.settings.INGRESS_CONTROLLER}`)
    await out.step('Copy the image to the nodes', async () =>
      ensureImagesOnNodes(platform, nodes, [await ingressImage(platform)]),
    )
    const overlay = await writeOverlay(
      platform,
      withCertificate(await ingressOverlay(platform, nodes), ingressNamespace, certificate),
    )
    let rolling: string[] = []
    await out.step('Apply the manifests', async () => {
      const [changes] = await Promise.all([
        ensureApplied(platform, overlay),
        renewApplicationsCertificate(platform, certificate),
      ])
      rolling = unfinishedRollouts(changes.map(({ object }) => object).filter(({ kind }) => kind === 'Deployment'))
      const deployed = outcomeOf(changes)
      if (deployed === 'created' && platform.settings.INGRESS_CONTROLLER === 'nginx') out.warn(retirementNotice)
      return deployed
    })
    await out.step('Wait until it answers', async () => {
      if (rolling.length > 0) await waitForRollout(cluster, ingressNamespace, rolling)
      await waitForIngress(platform, ca)
      return 'unchanged'
    })

    const { id } = await ensureInstallation(platform.paths)
    const store = await trustStoreOf(await detectHost(platform.settings.MACULA_OS), id)
    const command = trustCommand(certificate)
    if (store === undefined) {
      if (options.trust)
        throw new PlatformError('The platform does not know how this system is told to trust a CA', { hint: command })
      return out.summary(`https://… is signed by ${certificate.caFile}. To trust it: ${command}`)
    }
    const { interactive, say, alone } = out
    const asking = { interactive, say, alone, reason: `change ${store.file}` }
    if (await isOutdated(store, ca, journalAs(asRoot, platform.paths, true)))
      await out.step('Withdraw the trust in the previous CA', async () => {
        await change(platform.paths, asking, journal => journal.undo())
        return 'removed'
      })
    const trusted = await isTrusted(store, ca)
    const offered = !yes && !options.trust && interactive && outcome === 'created' && !trusted
    const question = `Have this machine trust the CA ${certificate.caFile}, so that https://… needs no exception?`
    if (options.trust || (offered && (await out.confirm(question))))
      await out.step(`Trust ${certificate.caFile}`, () =>
        change(platform.paths, asking, journal => trustCa(store, ca, journal)),
      )
    else if (!trusted)
      return out.summary(
        `https://… is signed by ${certificate.caFile}. To trust it: ${certificate.mkcert ? command : 'task deploy-ingress -- --trust'}`,
      )
    out.summary(`https://… is signed by ${certificate.caFile}, which this machine trusts`)
  },
})

function journalAs(privilege: Privilege, { stateDir }: Paths, dryRun = false): Journal {
  return openJournal({ stateDir, privilege, scope: 'trust', dryRun })
}

/** Changes what this machine trusts, as root where that is needed; no root for a change that changes nothing. */
async function change<T>(
  paths: Paths,
  asking: Omit<PrivilegeNeed, 'commands'>,
  action: (journal: Journal) => Promise<T>,
): Promise<T> {
  const preview = journalAs(asRoot, paths, true)
  await action(preview)
  const commands = preview.planned.map(({ command }) => command)
  const privilege = commands.length === 0 ? asRoot : await acquireRoot({ ...asking, commands })
  return action(journalAs(privilege, paths))
}
