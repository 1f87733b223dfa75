import { type Platform, serviceNamed, webServer } from '../platform/platform.ts'
import { hashOf } from '../platform/render.ts'
import { PlatformError } from '../system/errors.ts'
import { applyManifests, ensureApplied, manifestText } from './apply.ts'
import { clusterOf, ownLabels, platformNamespace } from './cluster.ts'
import { lookAtCluster } from './endpoints.ts'
import { findObject, getObjects, type KubeObject, kubectlOn } from './kubectl.ts'

/** What is behind a name of the platform, seen from a pod: the same ports as on the machine itself. */
export interface PodName {
  /** First label, like `s3`. */
  host: string
  /** Full name, like `s3.macula.local`. */
  name: string
  ports: { listen: number; ip: string; target: number }[]
}

/** Address that the node with this index has on the containers' network; services stand below .100, a user's own from .200 on. */
export function nodeAddress(platform: Platform, index: number): string {
  return `${platform.settings.MACULA_SUBNET.split('.').slice(0, 2).join('.')}.0.${100 + index}`
}

/** Every name of the platform's services with its ports: routes, published ports, and port 80 of the web server for those that have a page. */
export function podNames(platform: Platform): PodName[] {
  const web = serviceNamed(platform, webServer)
  const names = new Map<string, Map<number, PodName['ports'][number]>>()
  for (const service of platform.services) {
    for (const name of service.names) {
      // several services may share a name, told apart by path (the web server does that) or by port
      const ports = names.get(name) ?? new Map()
      names.set(name, ports)
      const add = (listen: number, ip: string, target: number) => ports.set(listen, { listen, ip, target })
      if (service.hosts.some(host => host.name === name)) add(80, web.address, 80)
      for (const { listen, target } of service.ports) add(listen, service.address, target)
      for (const { hostPort, containerPort, protocol } of service.published)
        if (protocol === 'tcp') add(hostPort, service.address, containerPort)
    }
  }
  return [...names]
    .filter(([, ports]) => ports.size > 0)
    .map(([name, ports]) => ({
      host: name.slice(0, -platform.domain.length - 1),
      name,
      ports: [...ports.values()],
    }))
}

/** Services without pods, one for each name, with endpoints outside the cluster. */
export function nameManifests(names: readonly PodName[]): KubeObject[] {
  return names.flatMap(({ host, ports }) => {
    const name = serviceName(host)
    const portName = (listen: number) => `port-${listen}`
    const service: KubeObject = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: platformNamespace, labels: ownLabels },
      spec: { ports: ports.map(({ listen }) => ({ name: portName(listen), port: listen, protocol: 'TCP' })) },
    }
    return [
      service,
      ...[...new Set(ports.map(({ ip }) => ip))].map(ip => ({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          name: `${name}-${ip.replaceAll('.', '-')}`,
          namespace: platformNamespace,
          labels: {
            ...ownLabels,
            'kubernetes.io/service-name': name,
            'endpointslice.kubernetes.io/managed-by': 'macula',
          },
        },
        addressType: 'IPv4',
        ports: ports
          .filter(port => port.ip === ip)
          .map(({ listen, target }) => ({ name: portName(listen), port: target, protocol: 'TCP' })),
        endpoints: [{ addresses: [ip], conditions: { ready: true } }],
      })),
    ]
  })
}

// a label may start with a digit, a Service may not
function serviceName(host: string): string {
  return `name-${host}`
}

const [begin, end] = ['# macula: begin', '# macula: end']

/**
 * CoreDNS's configuration with a part of ours at its end: names of services answer with the address of their Service, every other name of the
 * domain with the node that has the ingress. No AAAA, but no error either: musl takes an error for the answer to both queries.
 */
export function withPlatformNames(
  corefile: string,
  domain: string,
  addresses: readonly { name: string; ip: string }[],
  ingress: string,
): string {
  const start = corefile.indexOf(begin)
  const others = (start === -1 ? corefile : corefile.slice(0, start)).trimEnd()
  const after = start === -1 ? '' : corefile.slice(corefile.indexOf(end) + end.length).trim()
  const ours = [
    begin,
    `${domain}:53 {`,
    '    errors',
    // not the hosts plugin: in whatever order they are written, CoreDNS calls its template plugin first
    ...addresses.flatMap(({ name, ip }) => [
      '    template IN A {',
      `        match "^${name.replaceAll('.', '[.]')}[.]$"`,
      `        answer "{{ .Name }} 30 IN A ${ip}"`,
      '        fallthrough',
      '    }',
    ]),
    '    template IN A {',
    `        answer "{{ .Name }} 30 IN A ${ingress}"`,
    '    }',
    '    template IN AAAA {',
    '        rcode NOERROR',
    '    }',
    '}',
    end,
  ]
  return `${[others, ...(after === '' ? [] : [after]), ours.join('\n')].join('\n')}\n`
}

/**
 * Makes the platform's names resolve and work inside pods as they do on the machine. `found` is what a look at the whole cluster has found a moment
 * ago.
 */
export async function ensurePodNames(
  platform: Platform,
  found?: readonly KubeObject[],
): Promise<'unchanged' | 'updated'> {
  const seen = found ?? (await lookAtCluster(clusterOf(platform)))
  const names = podNames(platform)
  const manifests = nameManifests(names)
  const own = seen.filter(isOwn)
  const input = manifestText(manifests)
  const applied = await ensureApplied(platform, { name: 'names', args: ['-f', '-'], input, source: hashOf(input) }, own)
  const addresses = names.flatMap(({ host, name }) => {
    const spec = applied.find(
      ({ object: { kind, metadata } }) => kind === 'Service' && metadata.name === serviceName(host),
    )?.object.spec as { clusterIP: string } | undefined
    return spec === undefined ? [] : [{ name, ip: spec.clusterIP }]
  })
  const [changed] = await Promise.all([
    ensureCorefile(platform, corefileIn(seen), addresses),
    removeOthers(platform, manifests, own),
  ])
  return changed || applied.some(({ outcome }) => outcome !== 'unchanged') ? 'updated' : 'unchanged'
}

async function removeOthers(
  platform: Platform,
  wanted: readonly KubeObject[],
  found: readonly KubeObject[],
): Promise<void> {
  const known = new Set(wanted.map(({ kind, metadata }) => `${kind}/${metadata.name}`))
  const others = found.filter(({ kind, metadata }) => !known.has(`${kind}/${metadata.name}`))
  if (others.length === 0) return
  const names = others.map(({ kind, metadata }) => `${kind}/${metadata.name}`)
  await kubectlOn(clusterOf(platform))`delete --namespace ${platformNamespace} --ignore-not-found ${names}`
}

function isOwn({ kind, metadata: { namespace, labels = {} } }: KubeObject): boolean {
  if (namespace !== platformNamespace || !['Service', 'EndpointSlice'].includes(kind)) return false
  return Object.entries(ownLabels).every(([key, value]) => labels[key] === value)
}

function corefileIn(objects: readonly KubeObject[]): string {
  const configMap = findObject(objects, 'kube-system', 'ConfigMap', 'coredns')
  const corefile = (configMap?.data as { Corefile: string } | undefined)?.Corefile
  if (corefile !== undefined) return corefile
  throw new PlatformError('The cluster has no CoreDNS that could resolve the names of the platform', {
    why: 'There is no ConfigMap kube-system/coredns',
    hint: 'task setup-cluster -- --recreate',
  })
}

async function ensureCorefile(
  platform: Platform,
  before: string,
  addresses: readonly { name: string; ip: string }[],
): Promise<boolean> {
  const cluster = clusterOf(platform)
  const after = withPlatformNames(before, platform.domain, addresses, nodeAddress(platform, 0))
  if (after === before) return false
  const metadata = { name: 'coredns', namespace: 'kube-system' }
  const manifest = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { Corefile: after } }
  await applyManifests(cluster, manifestText([manifest]))
  await restartResolver(platform)
  return true
}

// It would notice by itself, but only a minute or two later. In a cluster that is just being created its pods have not started yet.
async function restartResolver(platform: Platform): Promise<void> {
  const cluster = clusterOf(platform)
  const pods = await getObjects(cluster, ['pods', '--namespace', 'kube-system', '--selector', 'k8s-app=kube-dns'])
  if (pods.every(pod => (pod.spec as { nodeName?: string }).nodeName === undefined)) return
  const kubectl = kubectlOn(cluster, { timeout: '130s' })
  await kubectl`--namespace kube-system rollout restart deployment/coredns`
  await kubectl`--namespace kube-system rollout status deployment/coredns --timeout 120s`
}
