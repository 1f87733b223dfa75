import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { describeContainer, isHealthy, parseContainers, projectContainers } from '../../../lib/stack/docker.ts'
import { engineError, inspectListed } from '../../../lib/stack/engine.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import { examplePaths } from '../../helpers/platform.ts'
import { shellAnswering } from '../../helpers/shell.ts'
import { installedState, listedContainer, ownId } from '../../helpers/things.ts'

const inspected = ({ state = {}, labels = {} }: { state?: object; labels?: Record<string, string> } = {}) => ({
  Id: 'abc',
  Name: '/macula-grafana',
  RestartCount: 2,
  State: {
    Status: 'running',
    ExitCode: 0,
    StartedAt: '2026-11-23T10:00:00.5Z',
    FinishedAt: '0001-01-01T00:00:00Z',
    ...state,
  },
  Config: { Image: 'grafana/grafana:13.2.0', Labels: { 'com.docker.compose.service': 'grafana', ...labels } },
})

const parsed = (options?: Parameters<typeof inspected>[0]) => {
  const [container] = parseContainers(JSON.stringify([inspected(options)]))
  assert.ok(container)
  return container
}

describe('containers as the engine tells of them', () => {
  it('reads name, service, restarts and the time it started', () => {
    const container = parsed()
    assert.equal(container.name, 'macula-grafana')
    assert.equal(container.service, 'grafana')
    assert.equal(container.restartCount, 2)
    assert.equal(container.health, undefined)
    assert.equal(container.since?.toISOString(), '2026-11-23T10:00:00.500Z')
  })

  it('dates an ended one from its end', () => {
    const container = parsed({ state: { Status: 'exited', ExitCode: 137, FinishedAt: '2026-11-23T11:00:00Z' } })
    assert.equal(container.since?.toISOString(), '2026-11-23T11:00:00.000Z')
    assert.equal(describeContainer(container), 'exited (137)')
    assert.equal(isHealthy(container), false)
  })

  it('has no date for one that never ran', () => {
    const container = parsed({ state: { Status: 'created', StartedAt: '0001-01-01T00:00:00Z' } })
    assert.equal(container.since, undefined)
    assert.equal(container.startedAt, undefined)
  })

  it('tells stand-ins and placeholders by the label of their image, and believes no other word there', () => {
    assert.equal(parsed({ labels: { 'macula.standin': 'placeholder' } }).standIn, 'placeholder')
    assert.equal(parsed({ labels: { 'macula.standin': 'real' } }).standIn, 'real')
    const other = parsed({ labels: { 'macula.standin': 'other', 'macula.standin.name': 'another S3 server' } })
    assert.deepEqual([other.standIn, other.standInName], ['other', 'another S3 server'])
    assert.equal(parsed({ labels: { 'macula.standin': 'maybe' } }).standIn, undefined)
    assert.equal(parsed().standIn, undefined)
  })

  it('calls a container without a check well as long as it runs, one with a check when that is content', () => {
    assert.equal(isHealthy(parsed()), true)
    assert.equal(isHealthy(parsed({ state: { Health: { Status: 'healthy' } } })), true)
    assert.equal(isHealthy(parsed({ state: { Health: { Status: 'starting' } } })), false)
    assert.equal(isHealthy(undefined), false)
    assert.equal(describeContainer(parsed({ state: { Health: { Status: 'unhealthy' } } })), 'running, unhealthy')
  })
})

describe('asking the engine', () => {
  const paths = examplePaths()
  const named = (MACULA_PROJECT: string) => ({ settings: { MACULA_PROJECT }, paths, services: [] })

  it('inspects nothing where there are no containers', async () => {
    const asked: string[] = []
    assert.deepEqual(await projectContainers(named('macula'), shellAnswering({ 'docker ps': {} }, asked)), [])
    assert.equal(asked.length, 1)
  })

  it('goes on with the others when one is gone before it is inspected', async () => {
    const state = await installedState()
    const containers = await projectContainers(
      { ...named('macula'), paths: { ...paths, stateDir: state.stateDir } },
      shellAnswering({
        'docker ps': ['abc', 'b'].map(id => listedContainer({ id, installation: ownId })).join(''),
        'docker container inspect abc b': {
          exitCode: 1,
          stdout: JSON.stringify([inspected()]),
          stderr: 'no such container: b',
        },
      }),
    )
    await state.remove()
    assert.deepEqual(
      containers.map(({ service }) => service),
      ['grafana'],
    )
  })

  it('inspects what is likely there while it lists, and leaves out what is not listed', async () => {
    const asked: string[] = []
    const inspect = async (containers: readonly string[]) => {
      asked.push(containers.join(' '))
      return containers.filter(id => id !== 'gone').map(id => ({ id }))
    }
    const found = (likely: string[], ...listed: string[]) => {
      asked.length = 0
      return inspectListed(async () => [listed, asked.push('list')][0] as string[], inspect, likely)
    }
    assert.deepEqual(await found(['a', 'b'], 'b', 'a'), [{ id: 'b' }, { id: 'a' }])
    assert.deepEqual(asked, ['a b', 'list'])
    assert.deepEqual(await found(['a', 'foreign'], 'a', 'c', 'gone'), [{ id: 'a' }, { id: 'c' }])
    assert.deepEqual(asked, ['a foreign', 'list', 'c gone'])
    assert.deepEqual(await found([], 'a'), [{ id: 'a' }])
    assert.deepEqual(await found(['a']), [])
  })

  it('throws where the engine does not answer', async () => {
    const stderr = 'Cannot connect to the Docker daemon at unix:///x'
    const shell = shellAnswering({ 'docker ps': { exitCode: 1, stderr } })
    await assert.rejects(projectContainers(named('macula'), shell), (error: PlatformError) => {
      assert.ok(error instanceof PlatformError)
      assert.equal(error.message, 'Docker is not running')
      assert.match(error.why ?? '', /unix:\/\/\/x/)
      return true
    })
  })

  it('tells a missing right from an engine that is down', () => {
    const messageFor = (stderr: string) => engineError(stderr, { platform: 'linux', systemd: true }).message
    const refused = 'permission denied while trying to connect to the Docker daemon socket'
    assert.equal(messageFor(refused), 'This user may not use Docker')
    assert.equal(messageFor('something new'), 'Docker does not answer')
  })

  it('says how to start just the engine that does not run', () => {
    const linux = { platform: 'linux', systemd: true } as const
    const hint = (address: string, machine: Parameters<typeof engineError>[1] = linux) => [
      engineError(`Cannot connect to the Docker daemon at ${address}. Is the docker daemon running?`, machine).hint,
      engineError(
        `failed to connect to the docker API at ${address}; check if the path is correct and if the daemon is running: dial: connect: no such file or directory`,
        machine,
      ).hint,
    ]
    const both = (text: RegExp, [old = '', now = '']: (string | undefined)[]) => {
      assert.equal(old, now)
      assert.match(now, text)
    }
    both(/^sudo systemctl start docker$/, hint('unix:///var/run/docker.sock'))
    both(/^sudo service docker start$/, hint('unix:///var/run/docker.sock', { ...linux, systemd: false }))
    both(/^systemctl --user start docker\ndocker context ls/, hint('unix:///run/user/1000/docker.sock'))
    both(/^systemctl --user start docker-desktop\n/, hint('unix:///home/jane/.docker/desktop/docker.sock'))
    both(/^Start the engine at tcp:\/\/10\.0\.0\.7:2375, or/, hint('tcp://10.0.0.7:2375'))
    both(
      /^Start Docker Desktop\n/,
      hint('unix:///Users/jane/.docker/run/docker.sock', { platform: 'darwin', systemd: false }),
    )
    both(
      /^colima start$/,
      hint('unix:///Users/jane/.colima/default/docker.sock', { platform: 'darwin', systemd: false }),
    )
  })
})
