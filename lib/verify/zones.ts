import { Resolver } from 'node:dns/promises'
import { PlatformError } from '../system/errors.ts'
import { type CheckGroup, expectStatus, type Tools, thenCleanUp } from './check.ts'
import { needsOf } from './urls.ts'

/** A zone is created through PowerDNS's API, answered by its DNS server, and deleted. */
export const zones: CheckGroup = ({ platform, unique }) => {
  const service = platform.services.find(({ name }) => name === 'powerdns')
  const name = service?.names[0]
  const open = service?.published.find(({ containerPort }) => containerPort === 53)
  if (service === undefined || name === undefined || open === undefined) return []
  const server = `${open.ip}:${open.hostPort}`
  return [
    {
      name: `a zone, made at ${name} and asked for at ${server}`,
      service: service.name,
      needs: needsOf(platform, name),
      realOnly: true,
      run: tools => roundTrip(`http://${name}`, server, platform.settings.PDNS_API_KEY, unique, tools),
    },
  ]
}

async function roundTrip(base: string, server: string, key: string, unique: string, tools: Tools): Promise<string> {
  // .test is reserved for tests (RFC 6761), so it cannot be a real zone
  const zone = `verify-${unique}.test.`
  const api = `${base}/api/v1/servers/localhost/zones`
  const headers = { 'x-api-key': key, 'content-type': 'application/json' }
  const record = { content: JSON.stringify(unique), disabled: false }
  const body = JSON.stringify({
    name: zone,
    kind: 'Native',
    nameservers: [`ns.${zone}`],
    rrsets: [{ name: zone, type: 'TXT', ttl: 1, records: [record] }],
  })
  await thenCleanUp(
    async () => {
      expectStatus(await tools.http(api, { method: 'POST', headers, body }), [201], 'Making a zone with PDNS_API_KEY')
      await requireAnswer(server, zone, unique, tools)
    },
    async () =>
      expectStatus(await tools.cleanUp(`${api}/${zone}`, { method: 'DELETE', headers }), [204], 'Deleting the zone'),
  )
  return 'made, answered and deleted'
}

/** Throws unless the name server answers for the zone with its record within the check's time. */
async function requireAnswer(server: string, zone: string, expected: string, { until, signal }: Tools): Promise<void> {
  const resolver = new Resolver({ timeout: 1000, tries: 1 })
  resolver.setServers([server])
  signal.addEventListener('abort', () => resolver.cancel(), { once: true })
  const answered = await until(`${server} does not answer for ${zone}`, async () =>
    (await resolver.resolveTxt(zone)).flat().join(''),
  )
  if (answered !== expected)
    throw new PlatformError(`${server} answers ${JSON.stringify(answered)} in place of the record`)
}
