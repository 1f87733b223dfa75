import { type Platform, serviceNamed } from '../platform/platform.ts'
import { $ } from '../system/exec.ts'
import { http } from '../system/http.ts'
import type { Container } from './docker.ts'

/** How long Grafana may take to check a password: it is slow on purpose, and the machine is busy after a start. */
const loginTimeoutMs = 10_000

/**
 * Makes GRAFANA_PASSWORD the password of Grafana's user admin. Grafana reads it from its configuration only when it creates that user, so a later
 * change needs its command line tool. Skipped for a placeholder, and where Grafana is not part of the platform.
 */
export async function ensureGrafanaPassword(
  platform: Platform,
  containers: readonly Container[],
): Promise<'unchanged' | 'updated' | 'skipped'> {
  const container = containers.find(({ service }) => service === 'grafana')
  if (container?.state !== 'running' || container.standIn === 'placeholder') return 'skipped'
  if (await acceptsPassword(platform)) return 'unchanged'
  await $({
    input: platform.settings.GRAFANA_PASSWORD,
  })`docker exec --interactive ${container.id} grafana cli admin reset-admin-password --password-from-stdin`
  return 'updated'
}

// through the web server on the first loopback address, which works with every routing engine
async function acceptsPassword(platform: Platform): Promise<boolean> {
  const [page] = serviceNamed(platform, 'grafana').hosts
  const login = Buffer.from(`admin:${platform.settings.GRAFANA_PASSWORD}`).toString('base64')
  const { status } = await http(`http://${page?.name}/api/org`, {
    ip: platform.loopback,
    timeoutMs: loginTimeoutMs,
    headers: { authorization: `Basic ${login}` },
  })
  return status !== 401
}
