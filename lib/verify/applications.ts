import { createSocket } from 'node:dgram'
import { requireOk } from '../cluster/answer.ts'
import { localCa } from '../cluster/certs.ts'
import { applicationNames } from '../cluster/cluster.ts'
import { type ClusterRow, clusterStatus } from '../cluster/cluster-status.ts'
import { scrapedApplications } from '../cluster/scrape.ts'
import type { Platform } from '../platform/platform.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import type { Check } from './check.ts'
import { clusterCollectorChecks } from './cluster-collector.ts'
import { metricsChecks } from './metrics.ts'

/** Checks of the cluster and the applications in it; none where there is no cluster. */
export async function applications(platform: Platform): Promise<Check[]> {
  const rows = await clusterStatus(platform)
  if (rows.every(({ state }) => state === 'not created') || platform.settings.CLUSTER !== 'kind') return []
  const ca = await localCa(platform)
  const scraped = await scrapedApplications(platform.paths)
  const deployed = rows.filter(({ kind, state }) => kind === 'application' && state !== 'not created')
  const stopped = rows.some(({ state }) => state === 'stopped')
  const hint = stopped ? 'task start-cluster' : undefined
  return [
    ...rows.filter(({ kind }) => kind !== 'application').map(row => stateCheck(row, hint)),
    ...deployed.flatMap(row => [
      webCheck(row, undefined, hint),
      ...(ca === undefined ? [] : [webCheck(row, ca, hint)]),
      ...(row.digest === undefined ? [] : [digestCheck(row)]),
    ]),
    ...metricsChecks(
      platform,
      deployed
        .filter(({ name }) => scraped.includes(name))
        .map(({ name, since }) => ({ name, running: !stopped, startedAt: since })),
    ),
    ...(stopped || deployed.length === 0 ? [] : clusterCollectorChecks(platform, latestOf(deployed))),
    ...(applicationNames(platform).includes('peer1') && deployed.some(({ name }) => name === 'peer1')
      ? [meshCheck(platform, hint)]
      : []),
  ]
}

function latestOf(rows: readonly ClusterRow[]): Date | undefined {
  const times = rows.flatMap(({ since }) => (since === undefined ? [] : [since.getTime()]))
  return times.length === 0 ? undefined : new Date(Math.max(...times))
}

function stateCheck({ kind, name, state, detail }: ClusterRow, hint: string | undefined): Check {
  return {
    name: `${kind} ${name}`,
    service: kind === 'node' ? 'cluster' : name,
    hint: hint ?? (kind === 'node' ? 'task start-cluster' : 'task deploy-ingress'),
    async run() {
      if (state === 'healthy') return detail
      throw new PlatformError(detail || state)
    },
  }
}

function webCheck({ name, url }: ClusterRow, ca: string | undefined, hint: string | undefined): Check {
  const address = ca === undefined ? url : url.replace('http:', 'https:')
  return {
    name: `page ${address}`,
    service: name,
    hint: hint ?? `task logs -- ${name}`,
    async run() {
      await requireOk({ url: `${address}/`, ca }, { timeoutMs: 2500 }).catch(error => {
        throw new PlatformError(`${address}: ${messageOf(error)}`)
      })
      return `answers${ca === undefined ? '' : ', certificate of the local CA'}`
    },
  }
}

function digestCheck({ name, digest = '', current }: ClusterRow): Check {
  return {
    name: `image of ${name}`,
    service: name,
    hint: 'task deploy-apps',
    async run() {
      const short = digest.slice(0, 19)
      if (current === undefined) throw new PlatformError(`${short} runs, and the registry does not know it`)
      if (!current) throw new PlatformError(`${short} runs, the registry has a newer one`)
      return `${short}, as in the registry`
    },
  }
}

function meshCheck({ applications }: Platform, hint: string | undefined): Check {
  const address = `${applications.loopback}:4433/udp`
  return {
    name: `datagram to ${address}`,
    service: 'peer1',
    hint: hint ?? 'task logs -- peer1',
    run: ({ signal }) =>
      new Promise((resolve, reject) => {
        const socket = createSocket('udp4')
        const end = (settle: () => void) => {
          socket.close()
          settle()
        }
        signal.addEventListener('abort', () => end(() => reject(new PlatformError(`${address} does not answer`))), {
          once: true,
        })
        socket.once('error', error => end(() => reject(new PlatformError(`${address}: ${error.message}`))))
        socket.once('message', answer => end(() => resolve(`answers: ${answer.toString('utf8').split(' ')[0]}`)))
        socket.send('are you there?', 4433, applications.loopback)
      }),
  }
}
