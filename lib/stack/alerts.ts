import { type Platform, type Service, webServer } from '../platform/platform.ts'
import { messageOf } from '../system/errors.ts'
import { http } from '../system/http.ts'

/** An alert of Prometheus' that is firing. */
export interface Alert {
  name: string
  /** What is wrong, in a sentence. */
  summary: string
  /** As the rule says it; empty where it says nothing. */
  severity: string
  since: string
}

/** What fires, or why nobody knows. */
export type Alerts = { firing: Alert[] } | { unknown: string }

/** As long as the probe of a service; `task status` does both at once. */
const timeoutMs = 2000

/** The service that decides about alerts; undefined where there is none. */
export function alertingService({ services }: Pick<Platform, 'services'>): Service | undefined {
  return services.find(({ name, hosts }) => name === 'prometheus' && hosts.length > 0)
}

/** Asks Prometheus, through the web server, which alerts are firing. Never throws. Undefined where the platform has no Prometheus. */
export async function firingAlerts(platform: Platform, request: typeof http = http): Promise<Alerts | undefined> {
  const [page] = alertingService(platform)?.hosts ?? []
  const gateway = platform.services.find(({ name }) => name === webServer)
  if (page === undefined || gateway === undefined) return undefined
  try {
    // at the address of the web server: names that do not resolve are another line's news
    const { status, body } = await request(`http://${page.name}/api/v1/alerts`, { ip: gateway.loopback, timeoutMs })
    if (status !== 200) return { unknown: `Prometheus answers ${status}` }
    const { data } = JSON.parse(body) as { data: { alerts: PrometheusAlert[] } }
    return { firing: data.alerts.filter(({ state }) => state === 'firing').map(read) }
  } catch (error) {
    return { unknown: messageOf(error) }
  }
}

interface PrometheusAlert {
  state: 'firing' | 'pending'
  labels: { alertname: string; severity?: string }
  annotations?: { summary?: string }
  activeAt: string
}

function read({ labels, annotations, activeAt }: PrometheusAlert): Alert {
  return {
    name: labels.alertname,
    summary: annotations?.summary ?? labels.alertname,
    severity: labels.severity ?? '',
    since: activeAt,
  }
}

/** Whether it is known that nothing fires. */
export function isQuiet(alerts: Alerts | undefined): boolean {
  return alerts !== undefined && 'firing' in alerts && alerts.firing.length === 0
}

/** One line for a person; undefined where there is nothing to ask. */
export function alertsLine(alerts: Alerts | undefined): string | undefined {
  if (alerts === undefined) return undefined
  if ('unknown' in alerts) return `Alerts: not known, ${alerts.unknown}`
  return isQuiet(alerts)
    ? 'Alerts: none is firing'
    : `Alerts: ${alerts.firing.map(({ summary }) => summary).join('; ')}`
}
