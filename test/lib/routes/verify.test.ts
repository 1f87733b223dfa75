import assert from 'node:assert/strict'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { after, describe, it } from 'node:test'
import { languageOf, verifyRoute } from '../../../lib/routes/verify.ts'
import { goodPlatform } from '../../helpers/platform.ts'

describe('a look at a route from outside', async () => {
  const platform = await goodPlatform()
  const ends: (() => void)[] = []
  after(() => {
    for (const end of ends) end()
  })
  const served = (serve: (socket: Socket) => void) =>
    new Promise<{ ip: string; port: number }>(resolve => {
      const server = createServer(serve).listen({ host: '127.0.0.1', port: 0 }, () =>
        resolve({ ip: '127.0.0.1', port: (server.address() as AddressInfo).port }),
      )
      ends.push(() => server.close())
    })
  const lookAt = (listen: { ip: string; port: number }, speaks: 'http' | 'postgres' | undefined) =>
    verifyRoute({ group: 'data', service: 'timescaledb', listen, target: listen }, { speaks, withinMs: 0 })

  it('speaks what the service speaks, where that is known', () => {
    const route = (port: number) => platform.routes.find(({ listen }) => listen.port === port)!
    assert.equal(languageOf(platform, route(5432)), 'postgres')
    assert.equal(languageOf(platform, route(3000)), 'http')
    assert.equal(languageOf(platform, route(80)), 'http')
    assert.equal(languageOf(platform, route(4317)), undefined)
  })

  it('is content with any answer to its greeting, and with a silent service whose language it does not know', async () => {
    const postgres = await served(socket => {
      socket.once('data', greeting => socket.end(greeting.length === 8 ? 'N' : ''))
    })
    assert.equal((await lookAt(postgres, 'postgres')).state, 'flows')
    const silent = await served(socket => ends.push(() => socket.destroy()))
    assert.equal((await lookAt(silent, undefined)).state, 'flows')
  })

  it('sees that nobody is behind what listens', async () => {
    const closing = await served(socket => socket.end())
    for (const language of ['http', 'postgres', undefined] as const)
      assert.equal((await lookAt(closing, language)).state, 'idle', language)
  })
})
