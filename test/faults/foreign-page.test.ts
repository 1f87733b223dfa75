import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { table } from '../../lib/system/text.ts'
import { examplePlatform, renderExample } from '../helpers/example.ts'
import { countFaults } from '../helpers/fault-table.ts'
import {
  attackFrom,
  documentedAddresses,
  skipBrowser,
  startBrowser,
  startForeignSite,
  trustingService,
} from '../helpers/foreign-page.ts'
import { type Gateway, nginx, startGateway } from '../helpers/gateway.ts'

const skip = nginx.skip || skipBrowser

describe('requests of a foreign web page, in a real browser', { skip }, () => {
  const service = trustingService()
  let gateway: Gateway
  let site: Awaited<ReturnType<typeof startForeignSite>>

  before(async () => {
    gateway = await startGateway(await renderExample(), service.answer)
    gateway.upstream.on('upgrade', service.onUpgrade)
    site = await startForeignSite()
  })

  after(async () => {
    site?.stop()
    await gateway?.stop()
  })

  it('get through at no documented address', async t => {
    const addresses = documentedAddresses(await examplePlatform())
    const ports = [...new Set(addresses.flatMap(address => new URL(address).port || []))]
    const browser = await startBrowser([
      ['evil.example', '127.0.0.1'],
      ...ports.map(port => [`*:${port}`, `${gateway.ip}:${port}`] as const),
      ['*:80', `${gateway.ip}:${gateway.port}`],
    ])
    try {
      const { kinds, read } = await attackFrom(browser, `http://evil.example:${site.port}`, addresses)
      const got = [...read, ...service.changes]
      const rows = addresses.map(address => [
        address,
        `${got.filter(breach => breach.address === address).length} of ${kinds.length}`,
      ])
      for (const line of table(['ADDRESS', 'KINDS THAT GOT THROUGH'], rows).trimEnd().split('\n')) t.diagnostic(line)
      t.diagnostic(
        `cross-site requests that got through at documented addresses: ${got.length} of ${kinds.length} kinds`,
      )
      countFaults('kinds of requests of a foreign page that got through', kinds.length, got.length)
      assert.ok(kinds.length >= 40)
      assert.deepEqual(got, [])
    } finally {
      await browser.close()
    }
  })
})
