import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer as createHttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { issue } from '../../../lib/cluster/issue.ts'
import { codeOf } from '../../../lib/system/errors.ts'
import { download, http } from '../../../lib/system/http.ts'
import { listening } from '../../helpers/servers.ts'
import { freePort } from '../../helpers/sockets.ts'

const ip = '127.0.0.1'

describe('a request', () => {
  it('goes to the address that was given, under the name in the URL', async () => {
    const { port } = await listening(
      createHttpServer((request, response) => {
        response.statusCode = 418
        response.end(`${request.method} ${request.headers.host} ${request.url}`)
      }),
    )
    const url = `http://grafana.macula.test:${port}/api?x=1`
    const { status, body } = await http(url, { ip, method: 'DELETE' })
    assert.equal(status, 418)
    assert.equal(body, `DELETE grafana.macula.test:${port} /api?x=1`)

    const otherPort = await http('http://grafana.macula.test/', { ip, port })
    assert.equal(otherPort.body, 'GET grafana.macula.test /')
  })

  it('sends its body with its length', async () => {
    const { port } = await listening(
      createHttpServer(async (request, response) => {
        const chunks: Buffer[] = []
        for await (const chunk of request) chunks.push(chunk)
        response.end(`${request.headers['content-length']} ${Buffer.concat(chunks)}`)
      }),
    )
    assert.equal((await http(`http://a.test:${port}/`, { ip, method: 'PUT', body: 'grüße' })).body, '7 grüße')
  })

  it('names the address where nobody listens, and where the name has none', async () => {
    const port = await freePort()
    await assert.rejects(http(`http://a.test:${port}/`, { ip }), error => {
      assert.equal((error as Error).message, `nobody listens on 127.0.0.1:${port}`)
      assert.equal(codeOf(error), 'ECONNREFUSED')
      return true
    })
    await assert.rejects(http('http://no-such-name.invalid/', { timeoutMs: 5000 }), /no-such-name\.invalid/)
  })

  it('ends at its deadline where the server says nothing, and where it never ends its answer', async () => {
    const silent = await listening(createServer())
    const endless = await listening(createHttpServer((_, response) => void response.write('…')))
    for (const { port } of [silent, endless]) {
      const started = performance.now()
      await assert.rejects(http(`http://a.test:${port}/`, { ip, timeoutMs: 150 }), {
        message: `127.0.0.1:${port}: no answer within 0.15 s`,
      })
      assert.ok(performance.now() - started < 1000)
    }
  })

  it('ends when its signal fires, with the reason of it', async () => {
    const { port } = await listening(createServer())
    const controller = new AbortController()
    setTimeout(() => controller.abort(new Error('the other one failed')), 50)
    await assert.rejects(http(`http://a.test:${port}/`, { ip, signal: controller.signal }), {
      message: `127.0.0.1:${port}: the other one failed`,
    })
  })

  it('trusts the given CA over TLS for the name in the URL, and no other', async () => {
    const own = await issue(
      ['console.macula.local'],
      'macula.local',
      { certificate: '', key: '' },
      { leafDays: 825, caDays: 3650, marginDays: 30 },
    )
    const { port } = await listening(
      createHttpsServer({ cert: own.certificate, key: own.key }, (_, response) => response.end('hello')),
    )
    const url = `https://console.macula.local:${port}/`
    assert.equal((await http(url, { ip, ca: own.ca.certificate })).body, 'hello')
    await assert.rejects(http(url, { ip }), /certificate/)
    await assert.rejects(http(`https://other.macula.local:${port}/`, { ip, ca: own.ca.certificate }), /altnames/)
  })
})

describe('a download', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-download-'))
  })
  after(() => rm(folder, { recursive: true }))

  it('follows redirects and saves what came', async () => {
    const content = 'x'.repeat(3_000_000)
    const { port } = await listening(
      createHttpServer((request, response) => {
        if (request.url === '/here') response.end(content)
        else response.writeHead(302, { location: '/here' }).end()
      }),
    )
    await download(`http://127.0.0.1:${port}/first`, join(folder, 'file'))
    assert.equal(await readFile(join(folder, 'file'), 'utf8'), content)
  })

  it('fails for any status but 200, and for a circle of redirects', async () => {
    const { port } = await listening(
      createHttpServer((request, response) => {
        if (request.url === '/circle') response.writeHead(302, { location: '/circle' }).end()
        else response.writeHead(404).end()
      }),
    )
    await assert.rejects(download(`http://127.0.0.1:${port}/no`, join(folder, 'no')), /\/no answers 404/)
    await assert.rejects(download(`http://127.0.0.1:${port}/circle`, join(folder, 'no')), /\/circle answers 302/)
  })

  it('lasts as long as something arrives, and ends when nothing does', async () => {
    const { port } = await listening(
      createHttpServer((request, response) => {
        let count = 0
        const timer = setInterval(() => {
          response.write('piece')
          count += 1
          if (count < 8) return
          clearInterval(timer)
          if (request.url === '/all') response.end()
        }, 50)
      }),
    )
    await download(`http://127.0.0.1:${port}/all`, join(folder, 'slow'), { idleMs: 200 })
    assert.equal((await readFile(join(folder, 'slow'), 'utf8')).length, 40)
    await assert.rejects(download(`http://127.0.0.1:${port}/stops`, join(folder, 'cut'), { idleMs: 200 }), {
      message: `127.0.0.1:${port}: no answer within 0.2 s`,
    })
  })
})
