import { X509Certificate } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { clusterGroup } from '../platform/ingress-routes.ts'
import type { Platform } from '../platform/platform.ts'
import { writeIfChanged } from '../platform/render.ts'
import type { Paths } from '../platform/settings.ts'
import type { KubeObject } from './kubectl.ts'

/** Beside the file of the services; Prometheus looks into that folder by itself. */
function targetsFile({ stateDir }: Pick<Paths, 'stateDir'>): string {
  return join(stateDir, 'config', 'prometheus', 'targets', 'applications.json')
}

/** Beside the portal's page. */
function digestsFile({ stateDir }: Pick<Paths, 'stateDir'>): string {
  return join(stateDir, 'config', 'portal', 'applications.json')
}

/** Beside them; the web server shows it to Prometheus among its own metrics. */
function certificatesFile({ stateDir }: Pick<Paths, 'stateDir'>): string {
  return join(stateDir, 'config', 'portal', 'certificates.txt')
}

/** When a certificate ends, as a metric: it needs no exporter, because it does not change. `certificate` is PEM. */
export function certificateMetric(certificate: string): string {
  const { validTo, subjectAltName } = new X509Certificate(certificate)
  const names = (subjectAltName ?? '').split(', ').map(name => name.replace(/^DNS:/, ''))
  return [
    '# HELP macula_certificate_end_seconds When the certificate of the applications ends, in Unix time.',
    '# TYPE macula_certificate_end_seconds gauge',
    `macula_certificate_end_seconds{name="${names[0] ?? ''}"} ${Date.parse(validTo) / 1000}`,
    '',
  ].join('\n')
}

/** Five times as often as services: somebody who has just deployed one looks at its rates, which need two scrapes. */
const scrapeInterval = '2s'

/**
 * What Prometheus scrapes of these applications, in its file_sd format: those whose pods have the annotation `prometheus.io/scrape`, by their
 * own names, which are the node's on the containers' network. The job is the application.
 */
export function applicationTargets(objects: readonly KubeObject[], domain: string) {
  return objects.flatMap(({ kind, metadata: { name }, spec }) => {
    if (kind !== 'Deployment') return []
    const { template } = spec as { template: { metadata?: { annotations?: Record<string, string> } } }
    const { 'prometheus.io/scrape': scrape, 'prometheus.io/path': path = '/metrics' } =
      template.metadata?.annotations ?? {}
    if (scrape !== 'true') return []
    // Prometheus takes no timeout that is longer than the interval
    const times = { __scrape_interval__: scrapeInterval, __scrape_timeout__: scrapeInterval }
    const labels = { job: name, group: clusterGroup, __metrics_path__: path, ...times }
    return [{ targets: [`${name}.${domain}:80`], labels }]
  })
}

/** Digests of the applications' images, which the portal shows: application → `sha256:…`. */
export function applicationDigests(objects: readonly KubeObject[]): Record<string, string> {
  const deployments = objects.filter(({ kind }) => kind === 'Deployment')
  return Object.fromEntries(
    deployments.map(({ metadata: { name }, spec }) => {
      const { template } = spec as { template: { spec: { containers: { image: string }[] } } }
      return [name, template.spec.containers[0]?.image.split('@')[1] ?? '']
    }),
  )
}

/** Has Prometheus scrape the applications and the end of their certificate (PEM), and the portal show their versions. */
export async function ensureScraped(
  { paths, domain }: Pick<Platform, 'paths' | 'domain'>,
  objects: readonly KubeObject[],
  certificate: string,
): Promise<'unchanged' | 'created' | 'updated'> {
  const write = (file: string, content: object) => writeIfChanged(file, `${JSON.stringify(content, null, 2)}\n`)
  const shown = await write(digestsFile(paths), applicationDigests(objects))
  const scraped = await write(targetsFile(paths), applicationTargets(objects, domain))
  const watched = await writeIfChanged(certificatesFile(paths), certificateMetric(certificate))
  return [scraped, shown].find(outcome => outcome !== 'unchanged') ?? watched
}

/** The applications that Prometheus was told to scrape. */
export async function scrapedApplications(paths: Paths): Promise<string[]> {
  const text = await readFile(targetsFile(paths), 'utf8').catch(() => '[]')
  return (JSON.parse(text) as ReturnType<typeof applicationTargets>).map(({ labels }) => labels.job)
}

/** They are gone with their cluster, so Prometheus must not report them as down. */
export async function forgetScraped(paths: Paths): Promise<void> {
  await rm(targetsFile(paths), { force: true })
  await rm(digestsFile(paths), { force: true })
  await rm(certificatesFile(paths), { force: true })
}
