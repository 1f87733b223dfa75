import { collectorImage } from '../cluster/collector.ts'
import type { Platform } from '../platform/platform.ts'
import { PlatformError } from '../system/errors.ts'
import { type Check, expectStatus, NotVerified, type Tools } from './check.ts'
import { needsOf } from './urls.ts'

/** A collector reads metrics every 15 s, and sends what it has within seconds. */
const firstMs = 45_000
/** The API server and etcd write something every few minutes, whatever else happens in the cluster. */
const logSeconds = 3600
/** A quiet cluster has no events for days; Loki takes no query over more than 30. */
const eventSeconds = 7 * 86_400

/** What the collectors in the cluster send, by the query that finds it in Prometheus. */
const metrics = {
  'metrics of pods': 'count(k8s_pod_memory_working_set_bytes{k8s_namespace_name="macula"})',
  'metrics of containers': 'count(container_memory_working_set_bytes{k8s_namespace_name="macula"})',
  'restarts of containers': 'count(k8s_container_restarts{k8s_namespace_name="macula"})',
}

/**
 * Checks that logs, metrics and events of the cluster are where people look for them. None where there is no collector in the cluster.
 * `since`: when the last application was deployed; what cannot be there so soon after that is not held against anybody.
 */
export function clusterCollectorChecks(platform: Platform, since: Date | undefined): Check[] {
  if (collectorImage(platform) === undefined) return []
  const isNew = () => since !== undefined && Date.now() - since.getTime() < firstMs
  const nameOf = (service: string) => platform.services.find(({ name }) => name === service)?.names[0]
  const prometheus = nameOf('prometheus')
  const loki = nameOf('loki')
  const found = async (count: Promise<number>, what: string) => {
    const seen = await count
    if (seen > 0) return `${seen} found`
    if (isNew()) throw new NotVerified(`No ${what} yet; they come within a minute of the deployment`)
    throw new PlatformError(`No ${what}: the collectors in the cluster send none`)
  }
  const checks: Check[] = []
  if (prometheus !== undefined)
    for (const [name, query] of Object.entries(metrics))
      checks.push({
        name: `${name} in Prometheus`,
        service: 'cluster',
        needs: needsOf(platform, prometheus),
        hint: 'task deploy-apps',
        run: tools => found(countOf(prometheus, query, tools), name),
      })
  if (loki !== undefined) {
    const ofLoki = { service: 'loki', needs: needsOf(platform, loki), realOnly: true, hint: 'task deploy-apps' }
    checks.push({
      ...ofLoki,
      name: 'lines of pods in Loki',
      run: tools =>
        found(linesOf(loki, '{k8s_namespace_name=~".+", service_name!="events"}', logSeconds, tools), 'lines of pods'),
    })
    checks.push({
      ...ofLoki,
      name: 'events of the cluster in Loki',
      async run(tools) {
        const seen = await linesOf(loki, '{service_name="events"}', eventSeconds, tools)
        if (seen === 0) throw new NotVerified('No event of the last week; a quiet cluster may have had none')
        return `${seen} found`
      },
    })
  }
  return checks
}

async function countOf(name: string, query: string, { http }: Tools): Promise<number> {
  const answer = await http(`http://${name}/api/v1/query?${new URLSearchParams({ query })}`)
  const { data } = JSON.parse(expectStatus(answer, [200], 'Prometheus').body) as {
    data: { result: { value: [number, string] }[] }
  }
  return Number(data.result[0]?.value[1] ?? 0)
}

/** How many lines of the last seconds a selector finds, up to 100. */
async function linesOf(name: string, query: string, seconds: number, { http }: Tools): Promise<number> {
  const end = Math.floor(Date.now() / 1000)
  const search = new URLSearchParams({ query, limit: '100', start: String(end - seconds), end: String(end) })
  const answer = await http(`http://${name}/loki/api/v1/query_range?${search}`)
  const { data } = JSON.parse(expectStatus(answer, [200], 'Loki').body) as {
    data: { result: { values: unknown[] }[] }
  }
  return data.result.reduce((sum, { values }) => sum + values.length, 0)
}
