import assert from 'node:assert/strict'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { renderExample } from '../helpers/example.ts'
import { attackFrom, skipBrowser, startBrowser, startForeignSite, trustingService } from '../helpers/foreign-page.ts'
import { type Gateway, nginx, startGateway } from '../helpers/gateway.ts'

const skip = nginx.skip || skipBrowser

describe('in a browser', { skip }, () => {
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

  const attack = async (hosts: readonly (readonly [string, string])[], addresses: readonly string[]) => {
    service.changes.length = 0
    const browser = await startBrowser([['evil.example', '127.0.0.1'], ...hosts])
    try {
      const { kinds, read } = await attackFrom(browser, `http://evil.example:${site.port}`, addresses)
      return { kinds, breaches: [...read, ...service.changes] }
    } finally {
      await browser.close()
    }
  }

  it('a page of another site reads or changes a service that it reaches directly, in all ways but those that browsers stop', async () => {
    const { port } = gateway.upstream.address() as AddressInfo
    const { kinds, breaches } = await attack([['*:3100', `127.0.0.1:${port}`]], ['http://loki.macula.local:3100'])
    const got = new Set(breaches.map(({ kind }) => kind))
    assert.deepEqual(
      kinds.filter(kind => !got.has(kind)),
      ['fetch without CORS', 'JSON as a script', 'window'],
    )
    assert.ok(got.size >= 40, `${got.size} kinds`)
  })

  it('a page of another site reads and changes nothing of a service behind nginx, by name or by address', async () => {
    const hosts = [
      ['*:3100', `${gateway.ip}:3100`],
      ['*:9090', `${gateway.ip}:9090`],
      ['*:80', `${gateway.ip}:${gateway.port}`],
    ] as const
    const addresses = ['http://loki.macula.local:3100', 'http://127.0.0.3:9090', 'http://grafana.macula.local']
    const { breaches } = await attack(hosts, addresses)
    assert.deepEqual(breaches, [])
  })

  it('pages of the platform use their own service, show images of another, and send telemetry; a foreign page may link to them', async () => {
    service.changes.length = 0
    const browser = await startBrowser([
      ['evil.example', '127.0.0.1'],
      ...[3000, 4318, 9000].map(port => [`*:${port}`, `${gateway.ip}:${port}`] as const),
    ])
    try {
      const page = await browser.newPage()
      await page.goto(`http://evil.example:${site.port}`)
      await page.evaluate("location.href = 'http://grafana.macula.local:3000/secret.html'")
      await page.waitForURL('http://grafana.macula.local:3000/secret.html')
      assert.equal(await page.evaluate('document.body.textContent'), 'secret')
      const own = await page.evaluate(`(async () => {
        const text = async (url, options) => (await fetch(url, options)).text()
        const event = (target, good) => new Promise(resolve => {
          target.addEventListener(good, () => resolve(true))
          target.addEventListener('error', () => resolve(false))
        })
        return [
          await text('/secret.json'),
          await text('/changes', { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } }),
          await text('/changes', { method: 'DELETE' }),
          await event(new WebSocket('ws://grafana.macula.local:3000/socket'), 'open'),
          await event(new EventSource('/events'), 'message'),
          await event(Object.assign(new Image(), { src: 'http://s3.macula.local:9000/secret.svg' }), 'load'),
          (await fetch('http://tempo.macula.local:4318/v1/traces', {
            method: 'POST', body: '{}', headers: { 'content-type': 'application/json', traceparent: 'x' },
          })).status,
        ]
      })()`)
      assert.deepEqual(own, ['"secret"', 'secret', 'secret', true, true, true, 200])
      assert.equal(service.changes.length, 4)
    } finally {
      await browser.close()
    }
  })
})
