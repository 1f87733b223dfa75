import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { describe, it } from 'node:test'
import { acceptsConnections, postgres, tcp } from '../../../lib/system/tcp.ts'
import { deadline } from '../../../lib/system/wait.ts'
import { listening } from '../../helpers/servers.ts'
import { freePort } from '../../helpers/sockets.ts'

/** Runs an action with a deadline, and removes the deadline afterwards. */
async function within<T>(timeoutMs: number, action: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { signal, done } = deadline(timeoutMs)
  return action(signal).finally(done)
}

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

  it('tells whether anything accepts connections, also where that comes a little later', async () => {
    const address = await listening(createServer())
    assert.equal(await acceptsConnections(address, 1000), true)

    const port = await freePort()
    const started = performance.now()
    assert.equal(await acceptsConnections({ ip: '127.0.0.1', port }, 300), false)
    assert.ok(performance.now() - started < 1500)

    const late = createServer()
    setTimeout(() => late.listen(port, '127.0.0.1'), 200)
    assert.equal(await acceptsConnections({ ip: '127.0.0.1', port }, 3000), true)
    late.close()
  })
})
