import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { composeCheck, engineCheck, logFilesCheck, ownershipCheck } from '../../../lib/doctor/engine.ts'
import { examine } from '../../../lib/doctor/finding.ts'
import { engineFacts } from '../../../lib/stack/engine.ts'
import type { Result } from '../../../lib/system/exec.ts'
import { having, only } from '../../helpers/findings.ts'
import { goodPlatform } from '../../helpers/platform.ts'
import { shellAnswering } from '../../helpers/shell.ts'
import { listedContainer } from '../../helpers/things.ts'

describe('the check of the engine', () => {
  const look = (version: Partial<Result>, tools = ['docker']) =>
    engineCheck(shellAnswering({ 'docker version': version }), having(...tools))
      .look()
      .then(only)

  it('is content with a new one and warns of one with a hole', async () => {
    assert.deepEqual(await look({ stdout: '29.10.0\n' }), { check: 'Docker engine', state: 'ok', detail: '29.10.0' })
    assert.equal((await look({ stdout: '28.3.3\n' })).state, 'ok')
    const old = await look({ stdout: '26.1.5+dfsg1\n' })
    assert.equal(old.state, 'warn')
    assert.match(old.detail, /^26\.1\.5\+dfsg1; before 28\.3\.3/)
  })

  it('fails for one that is missing or too old', async () => {
    assert.equal((await look({}, [])).detail, 'docker is not installed')
    const old = await look({ stdout: '20.10.24+dfsg1\n' })
    assert.equal(old.state, 'fail')
    assert.match(old.detail, /too old: the platform needs 25/)
  })

  it('says that it does not run, or that this user may not use it, and what to do', async () => {
    const check = (stderr: string) =>
      examine([engineCheck(shellAnswering({ 'docker version': { exitCode: 1, stderr } }), having('docker'))]).then(only)
    const stopped = await check(
      'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?',
    )
    assert.equal(stopped.state, 'fail')
    assert.match(stopped.detail, /^Docker is not running/)
    assert.match(stopped.hint ?? '', /start/i)
    const refused = await check(
      'permission denied while trying to connect to the docker API at unix:///var/run/docker.sock',
    )
    assert.match(refused.detail, /^This user may not use Docker/)
    assert.match(refused.hint ?? '', /usermod/)
  })
})

describe('the check of the container logs', () => {
  const look = (info: Partial<Result>) =>
    logFilesCheck('/var/lib/docker', engineFacts(shellAnswering({ 'docker info': info }))).look()

  it('names the setting for an engine that keeps its files elsewhere', async () => {
    assert.equal((await look({ stdout: '/var/lib/docker\n' }).then(only)).state, 'ok')
    const elsewhere = await look({ stdout: '/srv/docker\n' }).then(only)
    assert.equal(elsewhere.state, 'warn')
    assert.equal(elsewhere.hint, 'DOCKER_DATA_ROOT=/srv/docker in .env')
  })

  it('leaves a missing or silent engine to the check of the engine', async () => {
    assert.deepEqual(await look({ exitCode: 127, stderr: 'docker: command not found' }), [])
    assert.deepEqual(await look({ exitCode: 1, stderr: 'Cannot connect' }), [])
  })
})

describe('the check of Compose', () => {
  const look = (answers: Record<string, Partial<Result>>, ...tools: string[]) =>
    composeCheck(shellAnswering(answers), having(...tools))
      .look()
      .then(only)

  it('asks what it can do, whatever its number', async () => {
    const config = { 'docker compose --project-name': { stdout: 'healthcheck:\n  start_interval: 1s\n' } }
    for (const stdout of ['5.6.0\n', '2.26.1-4\n', 'v2.40.3\n'])
      assert.equal((await look({ 'docker compose version': { stdout }, ...config }, 'docker')).state, 'ok')
    const old = await look(
      {
        'docker compose version': { stdout: '2.17.2\n' },
        'docker compose --project-name': {
          exitCode: 15,
          stderr: 'Additional property start_interval is not allowed\n',
        },
      },
      'docker',
    )
    assert.equal(old.state, 'fail')
    assert.match(old.detail, /2\.17\.2 is too old.*Additional property start_interval/)
  })

  it('tells version 1 from none', async () => {
    const none = { 'docker compose': { exitCode: 1, stderr: "docker: 'compose' is not a docker command." } }
    assert.match((await look(none, 'docker', 'docker-compose')).detail, /only Compose v1/)
    assert.match((await look(none, 'docker')).detail, /not installed/)
  })
})

describe('the check of the names in Docker', () => {
  const look = async (containers: string) => {
    const facts = Promise.resolve({ folder: undefined, compose: undefined, version: '29.10.0' })
    const shell = shellAnswering({ 'docker ps': containers, 'docker network ls': '', 'docker volume ls': '' })
    return ownershipCheck(await goodPlatform(), facts, shell)
      .look()
      .then(only)
  }

  it("fails for somebody else's container, and says where it comes from and what to do", async () => {
    assert.equal((await look('')).state, 'ok')
    const theirs = listedContainer({ id: 'x', name: 'macula-nginx', project: 'blog', folder: '/srv/blog' })
    const { state, detail, hint } = await look(theirs)
    assert.equal(state, 'fail')
    assert.match(
      detail,
      /container macula-nginx: Compose project blog, started from \/srv\/blog, created \d+ days ago$/,
    )
    assert.match(hint ?? '', /^MACULA_PROJECT=\S+ in \.env[\s\S]*docker rm --force macula-nginx$/)
  })

  it('leaves an engine that does not answer to its own check', async () => {
    const facts = Promise.resolve({ folder: undefined, compose: undefined, version: undefined })
    assert.deepEqual(await ownershipCheck(await goodPlatform(), facts, shellAnswering({})).look(), [])
  })
})
