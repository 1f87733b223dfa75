import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { Browser, Page } from 'playwright-core'
import { root } from '../../lib/system/checkout.ts'
import { renderExample } from '../helpers/example.ts'
import { skipBrowser, startBrowser } from '../helpers/foreign-page.ts'
import { type Gateway, nginx, startGateway } from '../helpers/gateway.ts'

const axe = await readFile(join(root, 'node_modules/axe-core/axe.min.js'), 'utf8')
const url = 'http://home.macula.local/'

describe('the portal', { skip: nginx.skip || skipBrowser }, () => {
  let gateway: Gateway
  let browser: Browser
  let alerts: object[] = []

  before(async () => {
    // Loki is a placeholder, another program stands for the object store, and DNS admin is down
    gateway = await startGateway(await renderExample(), ({ url, headers: { host } }, response) => {
      if (url === '/api/v1/alerts') return response.end(JSON.stringify({ data: { alerts } }))
      if (host?.startsWith('loki:')) response.setHeader('X-Macula-Standin', 'placeholder')
      if (host?.startsWith('minio:')) response.setHeader('X-Macula-Standin', 'another S3 server')
      response.writeHead(host?.startsWith('powerdns-admin:') ? 500 : 200).end('ok')
    })
    browser = await startBrowser([['home.macula.local:80', `${gateway.ip}:${gateway.port}`]])
  })

  after(async () => {
    await browser?.close()
    await gateway?.stop()
  })

  const open = async (options: Parameters<Browser['newPage']>[0] = {}) => {
    const page = await browser.newPage(options)
    const troubles: string[] = []
    const foreign: string[] = []
    page.on('pageerror', error => troubles.push(error.message))
    // an answer that is not 2xx is a line in the console, too; the page asks in order to know
    page.on('console', message => {
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) troubles.push(message.text())
    })
    page.on('request', request => {
      if (!request.url().startsWith(url) && !request.url().startsWith('data:')) foreign.push(request.url())
    })
    await page.goto(url)
    await page.locator('#summary:not(:empty)').waitFor()
    return { page, troubles, foreign }
  }
  /** The tile of that title; behind it the heading says the state. */
  const tile = (page: Page, title: string) =>
    page.locator('article', {
      has: page.getByRole('heading', { name: new RegExp(`^${title} (up|placeholder|no answer|not probed)$`) }),
    })
  const stateOf = (page: Page, title: string) => tile(page, title).locator('.state').textContent()

  it('shows of each tile what a probe saw, and says what is a placeholder and what was not seen', async () => {
    const { page } = await open()
    assert.equal(await stateOf(page, 'Prometheus'), 'up')
    assert.equal(await stateOf(page, 'Loki'), 'placeholder')
    assert.equal(await stateOf(page, 'Object store'), 'up')
    assert.equal(await stateOf(page, 'DNS admin'), 'no answer')
    assert.equal(await stateOf(page, 'TimescaleDB'), 'no answer')
    assert.equal(await stateOf(page, 'Console'), 'no answer')
    assert.equal(await page.locator('#summary').textContent(), '10 of 20 up, 1 placeholder, 8 no answer, 1 not probed')
    const loki = tile(page, 'Loki')
    assert.match((await loki.locator('.version').textContent()) ?? '', /^a placeholder in place of \d/)
    const store = tile(page, 'Object store')
    assert.match((await store.locator('.version').textContent()) ?? '', /^another S3 server in place of \S/)
    const prometheus = tile(page, 'Prometheus')
    assert.match((await prometheus.locator('.version').textContent()) ?? '', /^v?\d/)
    await page.close()
  })

  it('shows alerts, versions and addresses that can be copied, and no secret', async () => {
    alerts = [{ state: 'firing', labels: { alertname: 'ServiceDown' }, annotations: { summary: 'loki is down' } }]
    const { page } = await open()
    await page.getByText('Alerts: loki is down', { exact: true }).waitFor()
    alerts = []
    const database = tile(page, 'TimescaleDB')
    const address = (await database.locator('code').textContent()) ?? ''
    assert.match(address, /^postgres:\/\/\w+@postgres\.macula\.local:5432\/\w+$/)
    assert.equal(await database.locator('.version').textContent(), '2.29.2-pg17')
    await page.evaluate(`document.addEventListener('copy', () => { globalThis.copied = String(getSelection()) })`)
    await database.getByRole('button').click()
    assert.equal(await page.evaluate('globalThis.copied'), address)
    assert.equal(await database.getByRole('button').textContent(), 'Copied')
    await page.close()
  })

  it('has no error, asks nobody else, and is accessible, light and dark', async () => {
    const pictures = join(root, 'docs', 'images')
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page, troubles, foreign } = await open({ colorScheme, viewport: { width: 1280, height: 900 } })
      await page.evaluate(axe)
      const found = (await page.evaluate('axe.run()')) as { violations: { id: string; nodes: { html: string }[] }[] }
      assert.deepEqual(
        found.violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html}`),
        [],
      )
      assert.deepEqual(troubles, [])
      assert.deepEqual(foreign, [])
      if (process.env.PICTURES)
        await page.screenshot({ path: join(pictures, `portal-${colorScheme}.png`), fullPage: true })
      await page.close()
    }
  })

  it('fits a screen of 360 pixels', async () => {
    const { page } = await open({ viewport: { width: 360, height: 640 } })
    assert.equal(await page.evaluate('document.documentElement.scrollWidth'), 360)
    if (process.env.PICTURES) await page.screenshot({ path: join(root, 'docs/images/portal-narrow.png') })
    await page.close()
  })

  it('is used with the keyboard alone: every link and button in the order of the page, seen where it is', async () => {
    const { page } = await open()
    const wanted = await page.evaluate("document.querySelectorAll('a, button').length")
    const seen: string[] = []
    for (let presses = 0; presses < Number(wanted); presses += 1) {
      await page.keyboard.press('Tab')
      seen.push(
        String(
          await page.evaluate(
            "[...document.querySelectorAll('a, button')].indexOf(document.activeElement) + ' ' + (getComputedStyle(document.activeElement).outlineStyle)",
          ),
        ),
      )
    }
    assert.deepEqual(
      seen,
      seen.map((_, index) => `${index} solid`),
    )
    await page.close()
  })

  it('runs no script but its own', async () => {
    const { page } = await open()
    const ran = await page.evaluate(`new Promise(resolve => {
      document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="globalThis.injected = 1">')
      const script = document.createElement('script')
      script.textContent = 'globalThis.injected = 1'
      document.body.append(script)
      setTimeout(() => resolve(globalThis.injected), 200)
    })`)
    assert.equal(ran, undefined)
    await page.close()
  })
})
