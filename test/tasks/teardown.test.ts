import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { openJournal } from '../../lib/journal/journal.ts'
import { recordOwned } from '../../lib/platform/installation.ts'
import { root } from '../../lib/system/checkout.ts'
import { $ } from '../../lib/system/exec.ts'
import { exists } from '../../lib/system/files.ts'
import { listedContainer, listedNetwork, listedVolume, ownId } from '../helpers/things.ts'

/** A node of a KinD cluster called macula, as the engine describes it. */
const node = JSON.stringify([
  {
    Id: '0123',
    Name: '/macula-control-plane',
    Created: new Date().toISOString(),
    State: { Running: true },
    Config: {
      Image: 'kindest/node',
      Labels: { 'io.x-k8s.kind.cluster': 'macula', 'io.x-k8s.kind.role': 'control-plane' },
    },
    HostConfig: { RestartPolicy: { Name: 'unless-stopped' } },
    NetworkSettings: { Networks: {} },
  },
])

/** Stands for docker: knows two containers, a network, a volume and a cluster node, and writes down what it is told to do. */
const docker = `#!/bin/sh
if [ -n "$DOWN" ]; then echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock' >&2; exit 1; fi
case "$*" in
  version*) echo 28.0.0 ;;
  *io.x-k8s.kind.cluster=macula*) echo 0123 ;;
  *inspect*--type*container*0123*) printf '%s' "$NODE" ;;
  "ps --all"*) cat <<'END'
${['macula-nginx', 'macula-grafana'].map(name => listedContainer({ id: name, name, installation: ownId })).join('')}${listedContainer({ id: 'x', name: 'macula-web', folder: '/home/jane/macula', created: '' })}END
  ;;
  "network ls"*) cat <<'END'
${listedNetwork({ id: 'macula-infra', installation: ownId })}${listedNetwork({ id: 'macula_default', created: '' })}END
  ;;
  "volume ls"*) cat <<'END'
${listedVolume({ id: 'macula_grafana', installation: ownId })}${listedVolume({ id: 'macula_theirs' })}END
  ;;
  "network rm"*) echo "$*" >> "$LOG"; if [ -n "$BUSY" ]; then echo 'network macula-infra has active endpoints' >&2; exit 1; fi ;;
  stop*) echo "$*" >> "$LOG"; [ -z "$SLOW" ] || exec sleep 60 ;;
  *) echo "$*" >> "$LOG" ;;
esac`

describe('teardown', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-teardown-'))
    await mkdir(join(folder, 'bin'))
    await mkdir(join(folder, 'state'))
    await writeFile(join(folder, 'bin', 'docker'), docker, { mode: 0o755 })
    await writeFile(join(folder, 'state', 'installation.json'), JSON.stringify({ id: ownId, owned: {} }))
    await writeFile(join(folder, 'env'), 'THIS IS = no usable file\n')
  })
  afterEach(() => rm(folder, { recursive: true }))

  const launch = [join(root, 'lib/cli/launch.mjs'), 'teardown']
  const environmentWith = (environment: Record<string, string>) => ({
    PATH: `${join(folder, 'bin')}:${process.env.PATH}`,
    HOME: folder,
    LOG: join(folder, 'log'),
    NODE: node,
    MACULA_ENV_FILE: join(folder, 'env'),
    MACULA_STATE_DIR: join(folder, 'state'),
    ...environment,
  })
  function teardown(words: readonly string[], environment: Record<string, string> = {}) {
    const env = environmentWith(environment)
    const { status, stdout, stderr } = spawnSync(process.execPath, [...launch, ...words], {
      encoding: 'utf8',
      input: '',
      env,
    })
    return { status, stdout, stderr }
  }
  const told = async () => (await readFile(join(folder, 'log'), 'utf8').catch(() => '')).trimEnd().split('\n')
  const isThere = (name: string) => exists(join(folder, name))

  it('removes cluster, containers and network, keeps data and settings, and needs no usable settings', async () => {
    await recordOwned({ stateDir: join(folder, 'state') }, 'node', ['0123'])
    const { status, stderr } = teardown(['--yes'])
    assert.equal(status, 0, stderr)
    assert.deepEqual(await told(), [
      'rm --force --volumes macula-control-plane',
      'stop macula-nginx macula-grafana',
      'rm --force --volumes macula-nginx macula-grafana',
      'network rm macula-infra',
    ])
    assert.match(stderr, /volume macula_grafana: kept \(--volumes deletes it\)/)
    assert.match(stderr, /This machine is as it was, but for the data volumes/)
    assert.deepEqual(await readdir(join(folder, 'state')), ['installation.json'])
    assert.equal(await isThere('env'), true)
  })

  it('removes a cluster whose creation was interrupted', async () => {
    await mkdir(join(folder, 'state', 'cluster'))
    const attempt = { cluster: 'macula', startedAt: new Date().toISOString() }
    await writeFile(join(folder, 'state', 'cluster', 'unfinished'), JSON.stringify(attempt))
    assert.equal(teardown(['--yes']).status, 0)
    assert.ok((await told()).includes('rm --force --volumes macula-control-plane'))
  })

  it('leaves a cluster alone that is not ours, also where a kubeconfig of ours names it', async () => {
    await writeFile(join(folder, 'state', 'kubeconfig'), 'current-context: kind-macula\n')
    assert.equal(teardown(['--yes']).status, 0)
    assert.ok(!(await told()).join().includes('control-plane'))
  })

  it('deletes data with --volumes and settings with --purge', async () => {
    assert.equal(teardown(['--yes', '--volumes', '--purge']).status, 0)
    assert.ok((await told()).includes('volume rm macula_grafana'))
    assert.equal(await isThere('env'), false)
  })

  it('only tells with --dry-run, on stdout', async () => {
    const { status, stdout } = teardown(['--dry-run'])
    assert.equal(status, 0)
    assert.deepEqual(stdout.trimEnd().split('\n'), [
      'container macula-nginx: to be removed',
      'container macula-grafana: to be removed',
      'network macula-infra: to be removed',
      'volume macula_grafana: kept (--volumes deletes it)',
      'container macula-web: Compose project macula, started from /home/jane/macula: left, not created by this installation',
      'network macula_default: Compose project macula: left, not created by this installation',
      'volume macula_theirs: Compose project macula: left, not created by this installation',
      `${join(folder, 'state')}: to be deleted`,
    ])
    assert.deepEqual(await told(), [''])
  })

  it('has to be confirmed, and says how where there is no terminal', async () => {
    const { status, stderr } = teardown([])
    assert.equal(status, 2)
    assert.match(stderr, /has to be confirmed\n.*no terminal.*\n {2}→ task teardown -- --yes/)
    assert.deepEqual(await told(), [''])
  })

  it('does not call the machine as it was while the engine that has the containers is not running', async () => {
    await writeFile(join(folder, 'state', 'docker-compose.yml'), 'name: macula\n')
    const { status, stderr } = teardown(['--yes'], { DOWN: '1' })
    assert.equal(status, 1)
    assert.match(stderr, /containers, networks and volumes: not seen, Docker is not running/)
    assert.match(stderr, /come back with Docker \(Docker is not running.*\); start it, then run this again/)
    assert.doesNotMatch(stderr, /as it was/)
    assert.equal(await isThere('state'), true)
    assert.equal(teardown(['--yes', '--volumes']).status, 0)
    assert.equal(await isThere('state'), false)
  })

  for (const [name, damage, expected] of [
    [
      'truncated',
      (text: string) => text.slice(0, -20),
      /✗ The journal is damaged at .*journal\.jsonl\n.*\n {2}→ Restore/,
    ],
    [
      'from a newer version',
      (text: string) => text.replace('"version":1', '"version":2'),
      /✗ The journal .*journal\.jsonl was written by a newer version.*\n.*format 2.*\n {2}→ Update this checkout/,
    ],
    ['unreadable', undefined, /✗ .*journal\.jsonl cannot be read\n.*\n {2}→ /],
  ] as const)
    it(`does nothing at all with a journal that is ${name}, and says what to do`, async () => {
      const [path, stateDir] = [join(folder, 'hosts'), join(folder, 'state')]
      const owner = { uid: userInfo().uid, gid: userInfo().gid }
      await openJournal({ stateDir, privilege: { $ }, scope: 'test' }).writeFile(path, 'ours', { owner })
      const journal = join(stateDir, 'journal.jsonl')
      const text = await readFile(journal, 'utf8')
      if (damage) await writeFile(journal, damage(text))
      else {
        await rm(journal)
        await mkdir(journal)
      }
      for (const words of [['--yes', '--volumes', '--purge'], ['--dry-run']]) {
        const { status, stdout, stderr } = teardown(words)
        assert.deepEqual([status, stdout], [1, ''])
        assert.match(stderr, expected)
        assert.equal(stderr.match(/^✗/gm)?.length, 1, stderr)
      }
      assert.deepEqual(await told(), [''])
      assert.equal(await readFile(path, 'utf8'), 'ours')
      assert.deepEqual([await isThere('state'), await isThere('env')], [true, true])
      if (damage) assert.equal(await readFile(journal, 'utf8'), damage(text))
    })

  for (const [name, group] of [
    ['Ctrl-C', true],
    ['SIGINT to itself alone', false],
  ] as const)
    it(`says on ${name} what was interrupted and what to do, and nothing else`, async () => {
      const child = spawn(process.execPath, [...launch, '--yes'], {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: environmentWith({ SLOW: '1' }),
        detached: true,
      })
      let stderr = ''
      child.stderr.setEncoding('utf8').on('data', text => (stderr += text))
      const ended = once(child, 'exit')
      for (let waited = 0; !(await told())[0]?.startsWith('stop'); waited += 1) {
        assert.ok(waited < 600, `not stopping containers after 30 s\n${stderr}`)
        await pause(50)
      }
      process.kill(group ? -child.pid! : child.pid!, 'SIGINT')
      assert.deepEqual(await ended, [130, null], stderr)
      assert.match(
        stderr,
        /: to be removed\n(?: {2}.*\n)+✗ Stop and remove the containers {2}interrupted {2}\d+\.\d s\n✗ Interrupted\n {2}→ run the same command again: .*\n$/,
      )
    })

  it('puts the machine back although a network is in use, and fails in the words of the engine', async () => {
    const path = join(folder, 'resolv.conf')
    await writeFile(path, 'before')
    const owner = { uid: userInfo().uid, gid: userInfo().gid }
    await openJournal({ stateDir: join(folder, 'state'), privilege: { $ }, scope: 'test' }).writeFile(path, 'ours', {
      owner,
    })
    const { status, stderr } = teardown(['--yes'], { BUSY: '1' })
    if (userInfo().uid !== 0) return assert.match(stderr, /Root is needed|could not be put back/)
    assert.equal(status, 1)
    assert.match(stderr, /has active endpoints/)
    assert.equal(await readFile(path, 'utf8'), 'before')
    assert.equal(await isThere('state'), true)
  })
})
