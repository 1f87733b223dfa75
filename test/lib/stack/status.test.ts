import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { type Platform, serviceNamed } from '../../../lib/platform/platform.ts'
import { probeOf, statusOf } from '../../../lib/stack/status.ts'
import type { Shell } from '../../../lib/system/exec.ts'
import type { lookUp } from '../../../lib/system/lookup.ts'
import { elapsed } from '../../../lib/system/text.ts'
import { goodPlatform } from '../../helpers/platform.ts'
import { shellAnswering } from '../../helpers/shell.ts'
import { installedState, listedContainer, ownId } from '../../helpers/things.ts'

describe('what is asked from outside', () => {
  let platform: Platform
  before(async () => {
    platform = await goodPlatform({
      local: [
        'services:',
        '  worker: { image: worker:1, x-macula: { group: own } }',
        '  page:',
        '    image: page:1',
        '    x-macula: { group: own, host: page, loopback: 127.0.0.9, ports: ["8000:80"], web: false, health: 80/up }',
      ].join('\n'),
    })
  })
  const textOf = (name: string) => probeOf(serviceNamed(platform, name))?.text

  it('is the health path under the documented name', () => {
    assert.equal(textOf('grafana'), 'http://grafana.macula.local/api/health')
    assert.equal(textOf('registry'), 'http://registry.macula.local/v2/')
    assert.equal(textOf('minio'), 'http://s3.macula.local/minio/health/live')
  })

  it('is the routed port where there is no page', () => {
    assert.equal(textOf('timescaledb'), 'postgres.macula.local:5432')
    assert.equal(textOf('page'), 'http://page.macula.local:8000/up')
  })

  it('is nothing where nothing outside leads to the service', () => {
    assert.equal(textOf('powerdns-db'), undefined)
    assert.equal(textOf('worker'), undefined)
  })
})

describe('the state of services', () => {
  const server = createServer((request, response) => {
    response.statusCode = request.url === '/up' ? 204 : 503
    response.end()
  })
  const silent = createServer(() => {})
  let platform: Platform
  let state: Awaited<ReturnType<typeof installedState>>
  before(async () => {
    for (const each of [server, silent]) await new Promise<void>(resolve => each.listen(0, '127.0.0.1', resolve))
    const [port, silentPort] = [server, silent].map(each => (each.address() as AddressInfo).port)
    const service = (name: string, port: number | undefined, path: string) =>
      `  ${name}: { image: a:1, x-macula: { group: own, host: ${name}, loopback: 127.0.0.9, ports: ["${port}:80"], web: false, health: 80${path} } }`
    const whole = await goodPlatform({
      local: [
        'services:',
        service('good', port, '/up'),
        service('bad', port, '/down').replace('127.0.0.9', '127.0.0.10'),
        service('slow', silentPort, '/up'),
        '  worker: { image: worker:1, x-macula: { group: own } }',
      ].join('\n'),
    })
    state = await installedState()
    const paths = { ...whole.paths, stateDir: state.stateDir }
    platform = { ...whole, paths, services: whole.services.filter(({ group }) => group === 'own') }
  })
  after(async () => {
    await state.remove()
    for (const each of [server, silent]) {
      each.closeAllConnections()
      each.close()
    }
  })

  const engine = (states: Record<string, object>, logs: Record<string, string> = {}): Shell => {
    const containers = Object.entries(states).map(([service, State]) => ({
      Id: service,
      Name: `/macula-${service}`,
      RestartCount: 0,
      State: {
        Status: 'running',
        ExitCode: 0,
        StartedAt: '2026-11-23T10:00:00Z',
        FinishedAt: '0001-01-01T00:00:00Z',
        ...State,
      },
      Config: { Image: 'a:1', Labels: { 'com.docker.compose.service': service } },
    }))
    return shellAnswering({
      'docker ps': { stdout: containers.map(({ Id }) => listedContainer({ id: Id, installation: ownId })).join('') },
      'docker container inspect': { stdout: JSON.stringify(containers) },
      ...Object.fromEntries(
        Object.keys(states).map(service => [
          `docker logs --since 2m --tail 200 macula-${service}`,
          { stderr: logs[service] ?? '' },
        ]),
      ),
    })
  }
  const resolving =
    (addresses: readonly string[]): typeof lookUp =>
    () =>
    async () =>
      addresses.length > 0 ? { addresses } : { addresses, error: 'ENOTFOUND' }
  const statesOf = async (states: Record<string, object>, addresses = ['127.0.0.1'], logs?: Record<string, string>) => {
    const services = await statusOf(platform, {
      shell: engine(states, logs),
      timeoutMs: 300,
      resolve: resolving(addresses),
    })
    return new Map(services.map(service => [service.name, service]))
  }
  const running = { good: {}, bad: {}, slow: {}, worker: {} }

  it('is what the probe says, whatever the container says of itself', async () => {
    const services = await statesOf({ ...running, bad: { Health: { Status: 'healthy' } } })
    assert.equal(services.get('good')?.state, 'healthy')
    assert.equal(services.get('bad')?.state, 'unhealthy')
    assert.match(services.get('bad')?.detail ?? '', /\/down answers 503; container running, healthy/)
    assert.equal(services.get('worker')?.state, 'running')
  })

  it('takes as long as one probe, not as long as all of them', async () => {
    const started = performance.now()
    const services = await statesOf(running)
    assert.equal(services.get('slow')?.state, 'unhealthy')
    assert.match(services.get('slow')?.detail ?? '', /no answer within 0.3 s/)
    assert.ok(performance.now() - started < 1300)
  })

  it("is the engine's word for what does not run", async () => {
    const services = await statesOf({
      bad: { Status: 'exited', ExitCode: 1, FinishedAt: '2026-11-23T11:00:00Z' },
      slow: { Health: { Status: 'starting' } },
      worker: { Health: { Status: 'unhealthy' } },
    })
    assert.equal(services.get('good')?.state, 'not created')
    assert.equal(services.get('bad')?.state, 'exited')
    assert.equal(services.get('bad')?.since?.toISOString(), '2026-11-23T11:00:00.000Z')
    assert.equal(services.get('slow')?.state, 'starting')
    assert.equal(services.get('worker')?.state, 'unhealthy')
  })

  it('says where the cause is a full disk, and only of what is not well', async () => {
    const full = 'level=error msg="write /data/wal/00000001: no space left on device"'
    const services = await statesOf(running, undefined, { bad: full, good: full })
    assert.match(services.get('bad')?.detail ?? '', /\/down answers 503; .*; its log says that the disk is full$/)
    assert.doesNotMatch(services.get('good')?.detail ?? '', /disk/)
    assert.doesNotMatch(services.get('slow')?.detail ?? '', /disk/)
  })

  it('says of each name that it does not resolve', async () => {
    const services = await statesOf(running, [])
    assert.equal(services.get('good')?.state, 'unhealthy')
    assert.match(services.get('good')?.detail ?? '', /^good\.macula\.local does not resolve: no address/)
  })
})

describe('how long ago', () => {
  it('is said in the largest unit that says enough', () => {
    const now = new Date('2026-11-23T12:00:00Z')
    const ago = (seconds: number) => elapsed(new Date(now.getTime() - seconds * 1000), now)
    assert.deepEqual(
      [ago(12), ago(200), ago(3 * 3600), ago(72 * 3600), ago(-5)],
      ['12 s', '3 min', '3 h', '3 days', '0 s'],
    )
    assert.equal(elapsed(undefined, now), '')
  })
})
