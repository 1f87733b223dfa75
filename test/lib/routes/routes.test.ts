import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Route } from '../../../lib/platform/platform.ts'
import { applyRoutes, planRoutes, requireFree, retireOtherEngines } from '../../../lib/routes/apply.ts'
import { chooseEngine, type RoutingMachine } from '../../../lib/routes/choose.ts'
import type { RouteEngine } from '../../../lib/routes/engine.ts'
import { routeOfSocat, socatRoute } from '../../../lib/routes/socat.ts'
import * as data from '../../../tasks/setup-data-routing.ts'
import * as kind from '../../../tasks/setup-kind-routing.ts'
import * as observability from '../../../tasks/setup-observability-routing.ts'
import { us } from '../../helpers/owner.ts'

const route = (service: string, port: number, target = port, group = 'data'): Route => ({
  group,
  service,
  listen: { ip: '127.0.0.7', port },
  target: { ip: '172.23.0.31', port: target },
})
const owns = (group: string) => group === 'data'

/** An engine that holds routes in memory, and notes what is asked of it. */
function fakeEngine(name: RouteEngine['name'], held: Route[] = []) {
  const calls: string[] = []
  const same = (one: Route) => (other: Route) => one.listen.port === other.listen.port
  const engine: RouteEngine = {
    name,
    installed: async () => [...held],
    foreign: async () => [],
    async apply(routes) {
      calls.push(`apply ${routes.map(({ service }) => service).join()}`)
      return routes.map(route => ({ route, outcome: held.some(same(route)) ? 'unchanged' : 'created' }))
    },
    async remove(routes) {
      calls.push(`remove ${routes.map(({ service }) => service).join()}`)
      return routes.map(route => ({ route, outcome: 'removed' }))
    },
  }
  return { engine, calls }
}

describe('the choice of an engine', () => {
  const linux: RoutingMachine = {
    platform: 'linux',
    systemd: true,
    proxy: '/lib/systemd/systemd-socket-proxyd',
    containersReachable: true,
  }

  it('takes systemd where it runs, socat elsewhere, publishing where containers have no address', () => {
    assert.equal(chooseEngine('auto', linux), 'systemd')
    assert.equal(chooseEngine('auto', { ...linux, systemd: false }), 'socat')
    assert.equal(chooseEngine('auto', { ...linux, proxy: undefined }), 'socat')
    assert.equal(chooseEngine('auto', { ...linux, platform: 'darwin', systemd: false }), 'publish')
    assert.equal(chooseEngine('auto', { ...linux, containersReachable: false }), 'publish')
  })

  it('takes the one that is named, or says why it cannot', () => {
    for (const name of ['systemd', 'socat', 'publish'] as const) assert.equal(chooseEngine(name, linux), name)
    assert.throws(() => chooseEngine('systemd', { ...linux, systemd: false }), {
      why: /not booted by systemd/,
      hint: /ROUTING=auto/,
    })
    assert.throws(() => chooseEngine('systemd', { ...linux, proxy: undefined }), {
      why: /systemd-socket-proxyd is not in/,
    })
    assert.throws(() => chooseEngine('socat', { ...linux, containersReachable: false }), { why: /no address here/ })
  })
})

describe('the commands of the routing tasks', () => {
  it('are the same in all three, and forward one address each', () => {
    const forwarded = [data, observability, kind].map(({ commands }) =>
      commands.socat(socatRoute(route('timescaledb', 5432), us)),
    )
    for (const command of forwarded) assert.deepEqual(command, forwarded[0])
    assert.deepEqual(routeOfSocat(forwarded[0]!)?.route, route('timescaledb', 5432))
  })
})

describe('a plan of routes', () => {
  it('tells what to create, replace, keep and take away', async () => {
    const kept = route('kept', 1)
    const other = route('elsewhere', 5)
    const { engine } = fakeEngine('socat', [
      kept,
      route('moved', 2, 20),
      route('gone', 3),
      route('foreign', 9, 9, 'observability'),
    ])
    const { engine: systemd } = fakeEngine('systemd', [other])
    const wanted = [kept, route('moved', 2), route('new', 4), other]
    const plan = await planRoutes(wanted, owns, { engine, others: [systemd] })
    const names = (routes: readonly Route[]) => routes.map(({ service }) => service)
    assert.deepEqual(names(plan.keep), ['kept'])
    assert.deepEqual(names(plan.update), ['moved'])
    assert.deepEqual(names(plan.create), ['new', 'elsewhere'])
    assert.deepEqual(
      plan.remove.map(({ route, engine }) => `${route.service} ${engine.name}`),
      ['gone socat', 'elsewhere systemd'],
    )
  })

  it('takes routes from the old engine before the new one makes them, and touches no other group', async () => {
    const routes = [route('one', 61001), route('two', 61002)]
    const before = fakeEngine('systemd', [...routes, route('foreign', 61003, 61003, 'observability')])
    const after = fakeEngine('socat')
    const changes = await applyRoutes(routes, owns, { engine: after.engine, others: [before.engine] })
    assert.deepEqual(before.calls, ['remove one,two'])
    assert.deepEqual(after.calls, ['apply one,two'])
    assert.deepEqual(
      changes.map(({ outcome }) => outcome),
      ['updated', 'updated'],
    )
    await retireOtherEngines(owns, { engine: after.engine, others: [before.engine] })
    assert.deepEqual(before.calls, ['remove one,two', 'remove one,two'])
  })

  it('names everyone who is in the way, at once', () => {
    const holder = (port: number, name: string) =>
      ({ protocol: 'tcp', ip: '0.0.0.0', port, process: { pid: 100 + port, name, command: [name] } }) as const
    assert.throws(
      () =>
        requireFree([route('one', 1), route('two', 2), route('free', 3)], [holder(1, 'apache2'), holder(2, 'caddy')]),
      {
        message: '2 addresses that routes need are taken',
        why: '127.0.0.7:1 (one): held by apache2 (pid 101) on 0.0.0.0:1\n127.0.0.7:2 (two): held by caddy (pid 102) on 0.0.0.0:2',
        hint: /kill 101[\s\S]*kill 102/,
      },
    )
    requireFree([route('free', 3)], [holder(1, 'apache2')])
  })
})
