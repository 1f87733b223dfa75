import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PlatformError } from '../system/errors.ts'
import { type Check, type CheckGroup, expectStatus } from './check.ts'
import { needsOf } from './urls.ts'

/** Grafana accepts its password and no other, reaches all of its data sources, and has loaded every dashboard, the user's own among them. */
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
    {
      ...own,
      name: 'Grafana shows every dashboard',
      async run({ http }) {
        const asked = await http(`${base}/api/search?type=dash-db&limit=5000`, { headers: admin })
        const shown = JSON.parse(expectStatus(asked, [200], 'Dashboards').body) as { title: string }[]
        const wanted = await titlesIn(join(platform.paths.stateDir, 'config/grafana/dashboards'))
        const missing = wanted.filter(title => !shown.some(dashboard => dashboard.title === title))
        if (missing.length > 0)
          throw new PlatformError(`Grafana has not loaded ${missing.join(', ')}`, { hint: 'task logs -- grafana' })
        return wanted.join(', ')
      },
    },
  ]
  return checks
}

/** Titles of the dashboards that Grafana is given in this folder. */
async function titlesIn(folder: string): Promise<string[]> {
  const names = (await readdir(folder)).filter(name => name.endsWith('.json')).sort()
  const texts = await Promise.all(names.map(name => readFile(join(folder, name), 'utf8')))
  return texts.map(text => (JSON.parse(text) as { title: string }).title)
}

function basic(user: string, password: string): string {
  return `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
}
