import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { openJournal } from '../../../lib/journal/journal.ts'
import type { Owner } from '../../../lib/platform/owner.ts'
import type { Route } from '../../../lib/platform/platform.ts'
import { applyRoutes, planRoutes, type Routing, removeRoutes, verifyRoutes } from '../../../lib/routes/apply.ts'
import { socatEngine, socatRoute } from '../../../lib/routes/socat.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import { hasTool } from '../../../lib/system/exec.ts'
import { holdersOf, isListenedOn, openSockets } from '../../../lib/system/ports.ts'
import { asRoot } from '../../../lib/system/privilege.ts'
import { findProcesses } from '../../../lib/system/processes.ts'
import { commands } from '../../../tasks/setup-data-routing.ts'
import { answerOf, greeter, opened } from '../../helpers/connections.ts'
import { addBridge, addWayOut, inOwnNetwork, runInOwnNetwork, whyNoNetwork } from '../../helpers/network.ts'
import { run } from '../../helpers/run.ts'
import { until } from '../../helpers/sockets.ts'

const owns = (group: string) => group === 'observability'
const route = (service: string, listen: string, target: string): Route => {
  const address = (text: string) => ({ ip: text.split(':')[0]!, port: Number(text.split(':')[1]) })
  return { group: 'observability', service, listen: address(listen), target: address(target) }
}
const grafana = route('grafana', '127.0.0.4:3000', '172.23.0.21:3000')
const page = route('grafana', '127.0.0.4:80', '172.23.0.2:80')
const loki = route('loki', '127.0.0.5:3100', '172.23.0.22:3100')
const routes = [grafana, page, loki]

if (!inOwnNetwork) {
  const reason = whyNoNetwork() ?? ((await hasTool('socat')) ? undefined : 'socat is not installed')
  it('routes of socat, in a network of their own', { skip: reason ?? false }, () =>
    runInOwnNetwork(import.meta.url, 120_000),
  )
} else {
  describe('routes of socat', socatTests)
}

function socatTests() {
  let stateDir: string
  let routing: Routing
  let us: Owner
  const engineOf = (owner: Owner) =>
    socatEngine({
      openJournal: scope => openJournal({ stateDir: owner.stateDir, privilege: asRoot, scope }),
      privilege: asRoot,
      owner,
      command: commands.socat,
    })
  const servers: Server[] = []
  before(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'macula-routes-'))
    us = { id: '0123456789ab', stateDir }
    routing = { engine: engineOf(us), others: [] }
    await addBridge('macula0', '172.23.0.1', ['172.23.0.2', '172.23.0.21', '172.23.0.22', '172.23.0.23'])
    for (const { target } of routes) servers.push(await greeter(target))
  })
  after(async () => {
    for (const server of servers) server.close()
    await rm(stateDir, { recursive: true })
  })

  const listening = async () =>
    (await openSockets()).flatMap(({ process }) => (process?.name === 'socat' ? [process.pid] : [])).sort()
  const apply = async (wanted: readonly Route[]) =>
    (await applyRoutes(wanted, owns, routing)).map(
      change => `${change.route.service}:${change.route.listen.port} ${change.outcome}`,
    )

  it('makes each address answer, and leaves right ones alone the second time', async () => {
    assert.deepEqual(await apply(routes), ['grafana:3000 created', 'grafana:80 created', 'loki:3100 created'])
    for (const { listen, target } of routes)
      assert.equal(await answerOf(listen), `hello from ${target.ip}:${target.port}`)
    const pids = await listening()
    assert.equal(pids.length, 3)
    assert.deepEqual(await apply(routes), ['grafana:3000 unchanged', 'grafana:80 unchanged', 'loki:3100 unchanged'])
    assert.deepEqual(await listening(), pids)
    const healths = await verifyRoutes(routes, { services: [] })
    assert.deepEqual(
      healths.map(({ state }) => state),
      ['flows', 'flows', 'flows'],
    )
  })

  it('listens on its loopback address and on no other', async () => {
    await assert.rejects(answerOf({ ip: '127.0.0.1', port: 3000 }), /ECONNREFUSED/)
    await assert.rejects(answerOf({ ip: '127.0.0.5', port: 3000 }), /ECONNREFUSED/)
  })

  it('replaces the one route whose target changed', async () => {
    const before = await listening()
    const moved = { ...loki, target: { ip: '172.23.0.23', port: 3100 } }
    servers.push(await greeter(moved.target))
    assert.deepEqual(await apply([grafana, page, moved]), [
      'grafana:3000 unchanged',
      'grafana:80 unchanged',
      'loki:3100 updated',
    ])
    assert.equal(await answerOf(loki.listen), 'hello from 172.23.0.23:3100')
    const pids = await listening()
    assert.equal(pids.length, 3)
    assert.equal(pids.filter(pid => before.includes(pid)).length, 2)
    assert.deepEqual(await apply(routes), ['grafana:3000 unchanged', 'grafana:80 unchanged', 'loki:3100 updated'])
  })

  it('starts a killed one anew', async () => {
    // not one of its open connections, which have the same command line
    const [holder] = holdersOf(grafana.listen, await openSockets())
    await run(['kill', '-9', String(holder?.process?.pid)])
    await until(async () => !(await isListenedOn(grafana.listen)), 'nobody listens')
    assert.deepEqual(
      (await apply(routes)).filter(text => !text.endsWith('unchanged')),
      ['grafana:3000 updated'],
    )
    assert.equal(await answerOf(grafana.listen), 'hello from 172.23.0.21:3000')
  })

  it('waits for an answer after the client has said all it has to say', async () => {
    const slow = route('slow', '127.0.0.4:4000', '172.23.0.21:4000')
    const server = createServer({ allowHalfOpen: true }, socket => {
      socket.resume().on('end', () => setTimeout(() => socket.end('late answer'), 1500))
    })
    await new Promise<void>(resolve => server.listen(4000, '172.23.0.21', resolve))
    servers.push(server)
    await apply([...routes, slow])
    assert.equal(await answerOf(slow.listen, socket => void socket.end('question')), 'late answer')
    assert.deepEqual(
      (await apply(routes)).filter(text => !text.endsWith('unchanged')),
      ['slow:4000 removed'],
    )
    await assert.rejects(answerOf(slow.listen), /ECONNREFUSED/)
  })

  it('serves new clients beside 500 idle ones, and lets go of them when they leave', async () => {
    const idle = await Promise.all(Array.from({ length: 500 }, () => opened(grafana.listen)))
    assert.equal(await answerOf(grafana.listen), 'hello from 172.23.0.21:3000')
    const processesOf = (wanted: Route) =>
      findProcesses(command => command.join() === commands.socat(socatRoute(wanted, us)).join())
    await until(async () => (await processesOf(grafana)).length >= 501, '500 clients are served')
    for (const socket of idle) socket.destroy()
    await until(async () => (await processesOf(grafana)).length === 1, 'only the listener is left')
  })

  it('refuses quickly when the target is down', async () => {
    const dead = route('dead', '127.0.0.4:4001', '172.23.0.21:4001')
    // nobody has this address: the kernel asks for it for three seconds
    const gone = route('gone', '127.0.0.4:4002', '172.23.0.99:4002')
    await apply([...routes, dead, gone])
    const started = Date.now()
    assert.equal(await answerOf(dead.listen), '')
    assert.ok(Date.now() - started < 500)
    assert.equal(await answerOf(gone.listen), '')
    assert.ok(Date.now() - started < 2000)
    const [health] = await verifyRoutes([dead], { services: [] })
    assert.equal(health?.state, 'idle')
    await apply(routes)
  })

  it('names the holder of a taken address and changes nothing', async () => {
    const holder = createServer()
    await new Promise<void>(resolve => holder.listen(3200, '127.0.0.6', resolve))
    const tempo = route('tempo', '127.0.0.6:3200', '172.23.0.23:3200')
    const before = await listening()
    await assert.rejects(apply([grafana, tempo]), (error: unknown) => {
      assert.ok(error instanceof PlatformError)
      assert.match(error.message, /^127\.0\.0\.6:3200 is taken; tempo needs it$/)
      assert.match(error.why ?? '', new RegExp(`held by .* \\(pid ${process.pid}\\) on 127\\.0\\.0\\.6:3200`))
      assert.match(error.hint ?? '', new RegExp(`kill ${process.pid}`))
      return true
    })
    assert.deepEqual(await listening(), before)
    holder.close()
  })

  it('knows its own routes when the journal is gone', async () => {
    const pids = await listening()
    await rm(join(stateDir, 'journal.jsonl'))
    await rm(join(stateDir, 'journal.begun'))
    assert.deepEqual(await apply(routes), ['grafana:3000 unchanged', 'grafana:80 unchanged', 'loki:3100 unchanged'])
    assert.deepEqual(await listening(), pids)
    assert.deepEqual(await apply([grafana, page]), [
      'loki:3100 removed',
      'grafana:3000 unchanged',
      'grafana:80 unchanged',
    ])
    await apply(routes)
  })

  it('lets two tasks work at once, and all of it be taken back', async () => {
    await removeRoutes(owns, routing)
    await Promise.all(['journal.jsonl', 'journal.begun'].map(name => rm(join(stateDir, name))))
    const others = [4005, 4006, 4007].map(port => ({
      ...route(`other${port}`, `127.0.0.8:${port}`, `172.23.0.21:${port}`),
      group: 'data',
    }))
    await Promise.all([apply(routes), applyRoutes(others, group => group === 'data', routing)])
    assert.equal((await listening()).length, 6)
    await openJournal({ stateDir, privilege: asRoot, scope: '' }).undo()
    assert.deepEqual(await listening(), [])
    await apply(routes)
  })

  it('moves to another engine without leaving a route behind', async () => {
    const applied: Route[] = []
    const other: Routing = {
      engine: {
        name: 'systemd',
        installed: async () => [],
        foreign: async () => [],
        remove: async () => [],
        apply: async wanted => {
          for (const { listen } of wanted) await assert.rejects(answerOf(listen), /ECONNREFUSED/)
          applied.push(...wanted)
          return wanted.map(route => ({ route, outcome: 'created' }))
        },
      },
      others: [routing.engine],
    }
    const changes = await applyRoutes(routes, owns, other)
    assert.deepEqual(
      changes.map(({ outcome }) => outcome),
      ['updated', 'updated', 'updated'],
    )
    assert.deepEqual(applied, routes)
    assert.deepEqual(await listening(), [])
    assert.equal((await planRoutes(routes, owns, routing)).create.length, 3)
  })

  it('sends nothing out when the network of the containers is gone', async () => {
    const sent = await addWayOut()
    await apply([grafana])
    for (const server of servers) server.close()
    await run(['ip', 'link', 'delete', 'macula0'])
    await pause(200)
    const before = await sent()
    const started = Date.now()
    assert.equal(await answerOf(grafana.listen), '')
    assert.ok(Date.now() - started < 500)
    const [health] = await verifyRoutes([grafana], { services: [] })
    assert.equal(health?.state, 'idle')
    assert.equal(await sent(), before)
  })

  it('takes everything away, with open connections and all', async () => {
    const open = await opened(grafana.listen)
    const changes = await removeRoutes(owns, routing)
    assert.deepEqual(
      changes.map(change => change.outcome),
      ['removed'],
    )
    assert.deepEqual(await findProcesses(command => command[0] === 'socat'), [])
    assert.deepEqual(await removeRoutes(owns, routing), [])
    open.destroy()
  })
}
