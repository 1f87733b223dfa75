// Opens the portal in Chromium, waits until every tile knows its state, and prints them as JSON: [path of the probe, state]. Runs inside a sandbox.
import { chromium } from 'playwright-core'

const [url = '', screenshot = ''] = process.argv.slice(2)
const quiet = ['--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update']
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-sync', ...quiet],
})
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
await page.goto(url)
await page.locator('#summary:not(:empty)').waitFor({ timeout: 20_000 })
const states = await page.$$eval('[data-probe]', tiles => tiles.map(({ dataset }) => [dataset.probe, dataset.state]))
if (screenshot) await page.screenshot({ path: screenshot })
await browser.close()
process.stdout.write(JSON.stringify(states))
