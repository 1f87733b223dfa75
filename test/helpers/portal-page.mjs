// Opens the portal in Chromium, waits until every tile knows its state, and prints them as JSON: [service, state]. Runs inside a sandbox.
import { chromium } from 'playwright-core'

const [url = '', screenshot = ''] = process.argv.slice(2)
const quiet = ['--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update']
const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-sync', ...quiet],
})
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
await page.goto(url)
await page.waitForFunction(
  () => [...document.querySelectorAll('.state')].every(({ dataset }) => dataset.state),
  undefined,
  {
    timeout: 20_000,
  },
)
const states = await page.$$eval('.state', tiles => tiles.map(({ dataset }) => [dataset.service, dataset.state]))
if (screenshot) await page.screenshot({ path: screenshot })
await browser.close()
process.stdout.write(JSON.stringify(states))
