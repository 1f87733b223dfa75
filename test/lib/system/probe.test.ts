import assert from 'node:assert/strict'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { after, describe, it } from 'node:test'
import type { Runner } from '../../../lib/system/exec.ts'
import { describeLookup, lookUp } from '../../../lib/system/lookup.ts'
import { deadline, http, postgres, tcp } from '../../../lib/system/probe.ts'

const servers: Server[] = []
const sockets: Socket[] = []
after(() => {
  for (const socket of sockets) socket.destroy()
  for (const server of servers) server.close()
})

async function listening(server: Server): Promise<{ ip: string; port: number }> {
  servers.push(server)
  server.on('connection', socket => sockets.push(socket))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return { ip: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

/** Runs an action with a deadline, and takes the deadline away afterwards. */
async function within<T>(timeoutMs: number, action: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { signal, done } = deadline(timeoutMs)
  return action(signal).finally(done)
}

async function freePort(): Promise<number> {
  const server = createServer()
  const { port } = await listening(server)
  await new Promise(resolve => server.close(resolve))
  return port
}

describe('a request', () => {
  it('goes to the address that was given, under the name in the URL', async () => {
    const { port } = await listening(
      createHttpServer((request, response) => {
        response.statusCode = 418
        response.end(`${request.method} ${request.headers.host} ${request.url}`)
      }),
    )
    const url = `http://grafana.macula.test:${port}/api?x=1`
    const { status, body } = await within(2000, signal => http(url, '127.0.0.1', signal, { method: 'DELETE' }))
    assert.equal(status, 418)
    assert.equal(body, `DELETE grafana.macula.test:${port} /api?x=1`)
  })

  it('names the address where nobody listens', async () => {
    const port = await freePort()
    await assert.rejects(
      within(2000, signal => http(`http://a.test:${port}/`, '127.0.0.1', signal)),
      { message: `nobody listens on 127.0.0.1:${port}` },
    )
  })

  it('ends at its deadline where the server says nothing, and where it never ends its answer', async () => {
    const silent = await listening(createServer())
    const endless = await listening(createHttpServer((_, response) => void response.write('…')))
    for (const { port } of [silent, endless]) {
      const started = performance.now()
      await assert.rejects(
        within(150, signal => http(`http://a.test:${port}/`, '127.0.0.1', signal)),
        { message: `127.0.0.1:${port}: no answer within 0.15 s` },
      )
      assert.ok(performance.now() - started < 1000)
    }
  })
})

describe('a look at a TCP port', () => {
  it('is content with a server that waits for the first word', async () => {
    const address = await listening(createServer())
    await within(2000, signal => tcp(address, signal))
  })

  it('is not deceived by a forwarder that accepts and hangs up', async () => {
    const address = await listening(createServer(socket => setTimeout(() => socket.end(), 50)))
    await assert.rejects(
      within(2000, signal => tcp(address, signal)),
      /accepts the connection and hangs up/,
    )
  })

  it('knows PostgreSQL by its answer, and other servers by theirs', async () => {
    const real = await listening(
      createServer(socket => socket.once('data', data => data.readInt32BE(4) === 80877103 && socket.write('N'))),
    )
    await within(2000, signal => postgres(real, signal))
    const other = await listening(createServer(socket => socket.write('220 smtp\r\n')))
    await assert.rejects(
      within(2000, signal => postgres(other, signal)),
      /not as PostgreSQL does/,
    )
    const silent = await listening(createServer())
    await assert.rejects(
      within(150, signal => postgres(silent, signal)),
      /no answer within/,
    )
  })
})

describe('looking names up', () => {
  it('asks the system resolver, which knows localhost', async () => {
    const lookups = lookUp([{ name: 'localhost', family: 4 }], 5000)
    assert.deepEqual((await lookups('localhost')).addresses, ['127.0.0.1'])
    assert.equal((await lookups('other')).error, 'not asked')
  })

  it('says of every name without an answer that its time is over', async () => {
    const asker: Runner = async (_, options) => {
      options?.onLine?.('{"question":"4:a.test","addresses":["127.0.0.4"]}', 'stdout')
      return { exitCode: 137, stdout: '', stderr: '' }
    }
    const lookups = lookUp(
      [
        { name: 'a.test', family: 4 },
        { name: 'a.test', family: 6 },
      ],
      100,
      asker,
    )
    assert.equal(describeLookup(await lookups('a.test')), '127.0.0.4')
    assert.equal(describeLookup(await lookups('a.test', 6)), 'the resolver did not answer in time')
  })
})
