import { PlatformError } from '../system/errors.ts'
import { type Check, type CheckGroup, expectStatus } from './check.ts'
import { needsOf } from './urls.ts'

/** Grafana accepts its password and no other, and reaches all of its data sources. */
export const dashboards: CheckGroup = ({ platform, unique }) => {
  const service = platform.services.find(({ name }) => name === 'grafana')
  const name = service?.names[0]
  if (service === undefined || name === undefined) return []
  const base = `http://${name}`
  const own = { service: service.name, needs: needsOf(platform, name), realOnly: true }
  const admin = { authorization: basic('admin', platform.settings.GRAFANA_PASSWORD) }
  // not as admin: after five wrong passwords Grafana locks a user out for minutes
  const stranger = { authorization: basic(unique, unique) }

  const checks: Check[] = [
    {
      ...own,
      name: 'Grafana accepts GRAFANA_PASSWORD and no other password',
      async run({ http }) {
        const [right, wrong] = await Promise.all([
          http(`${base}/api/user`, { headers: admin }),
          http(`${base}/api/user`, { headers: stranger }),
        ])
        expectStatus(right, [200], 'Logging in as admin')
        expectStatus(wrong, [401], 'Logging in with a wrong password')
        return 'the right password logs in, a wrong one does not'
      },
    },
    {
      ...own,
      name: 'Grafana reaches its data sources',
      needs: [...own.needs, ...platform.services.flatMap(({ names }) => names.map(name => `http://${name}`))],
      async run({ http }) {
        const listed = expectStatus(await http(`${base}/api/datasources`, { headers: admin }), [200], 'Data sources')
        const sources = JSON.parse(listed.body) as { uid: string; name: string }[]
        if (sources.length === 0) throw new PlatformError('Grafana has no data source')
        await Promise.all(
          sources.map(async source => {
            const health = await http(`${base}/api/datasources/uid/${source.uid}/health`, { headers: admin })
            expectStatus(health, [200], source.name)
          }),
        )
        return sources.map(({ name }) => name).join(', ')
      },
    },
  ]
  return checks
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}
