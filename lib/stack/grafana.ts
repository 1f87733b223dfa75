import { type Platform, serviceNamed } from '../platform/platform.ts'
import { run } from '../system/exec.ts'
import { http } from '../system/http.ts'
import type { Container } from './docker.ts'

/** How long Grafana may take to check a password: it is slow on purpose, and the machine is busy after a start. */
const loginTimeoutMs = 10_000

/**
 * Makes GRAFANA_PASSWORD the password of Grafana's user admin. Grafana takes it from its configuration only when it makes that user, so a later
 * change has to be told to it. A placeholder, or a Grafana that is not part of the platform, has none to change.
 */
export async function ensureGrafanaPassword(
  platform: Platform,
  containers: readonly Container[],
): Promise<'unchanged' | 'updated' | 'skipped'> {
  const container = containers.find(({ service }) => service === 'grafana')
  if (container?.state !== 'running' || container.standIn === 'placeholder') return 'skipped'
  if (await letsIn(platform)) return 'unchanged'
  await run(
    [
      'docker',
      'exec',
      '--interactive',
      container.name,
      'grafana',
      'cli',
      'admin',
      'reset-admin-password',
      '--password-from-stdin',
    ],
    { input: platform.settings.GRAFANA_PASSWORD },
  )
  return 'updated'
}

// through the web server on the first loopback address, which is there whatever engine makes the routes
async function letsIn(platform: Platform): Promise<boolean> {
  const [page] = serviceNamed(platform, 'grafana').hosts
  const login = Buffer.from(`admin:${platform.settings.GRAFANA_PASSWORD}`).toString('base64')
  const { status } = await http(`http://${page?.name}/api/org`, {
    ip: platform.loopback,
    timeoutMs: loginTimeoutMs,
    headers: { authorization: `Basic ${login}` },
  })
  return status !== 401
}
