import assert from 'node:assert/strict'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { countFaults } from '../helpers/fault-table.ts'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../helpers/stub-docker.ts'
import { listedContainer, listedNetwork, listedVolume, ownId } from '../helpers/things.ts'

const row = 'foreign containers, networks, volumes touched'

/** What docker is told that changes something: everything but these. */
const onlyLooks =
  /^(info|ps|port|logs|version|context|(network|volume|image|container)? ?(ls|inspect)|compose version|compose (.* )?(config|ps|logs)|manifest)\b/

describe("somebody else's Compose project called macula", () => {
  let tasks: StubbedTasks
  beforeEach(async () => {
    tasks = await stubbedTasks()
  })
  afterEach(() => tasks.remove())

  const theirs = {
    container: listedContainer({
      id: 'theirs-c',
      name: 'macula-web-1',
      folder: '/home/jane/macula',
      networks: 'macula_default',
      mounts: 'macula_data',
    }),
    network: listedNetwork({ id: 'theirs-n', name: 'macula_default' }),
    volume: listedVolume({ id: 'macula_data' }),
  }
  const clashing = {
    container: listedContainer({ id: 'theirs-c', name: 'macula-nginx', project: '' }),
    network: listedNetwork({ id: 'theirs-n', name: 'macula-infra', project: '' }),
    volume: listedVolume({ id: 'macula_minio-data', project: '' }),
  }
  const ours = {
    container: listedContainer({ id: 'ours-c', name: 'macula-nginx', installation: ownId }),
    network: listedNetwork({ id: 'ours-n', name: 'macula-infra', installation: ownId }),
    volume: listedVolume({ id: 'macula_minio-data', installation: ownId }),
  }
  type Lists = Partial<Record<keyof typeof theirs, string>>

  const engineWith = async (...all: Lists[]) => {
    const listed = (kind: keyof typeof theirs) => all.map(list => list[kind] ?? '').join('')
    for (const kind of ['container', 'network', 'volume'] as const)
      await writeFile(join(tasks.folder, `${kind}s`), listed(kind))
    const running = JSON.stringify([
      {
        ...{ Id: 'ours-c', Name: '/macula-nginx', Image: 'i', RestartCount: 0 },
        State: {
          Status: 'running',
          ExitCode: 0,
          StartedAt: '2026-11-23T10:00:00Z',
          FinishedAt: '0001-01-01T00:00:00Z',
        },
        Config: { Image: 'nginx', Labels: { 'com.docker.compose.service': 'nginx' } },
      },
    ])
    await tasks.docker(`
      'ps --all --no-trunc'*) cat ${tasks.folder}/containers;;
      'network ls --no-trunc'*) cat ${tasks.folder}/networks;;
      'volume ls --format'*) cat ${tasks.folder}/volumes;;
      info*) echo '/var/lib/docker engine=29.10.0 compose=5.6.0';;
      'container inspect'*) echo '${running}';;
      ${workingDocker}`)
  }
  const changing = async () => (await tasks.calls()).filter(call => !onlyLooks.test(call))
  const installed = async () => {
    await mkdir(tasks.stateDir, { recursive: true })
    await writeFile(join(tasks.stateDir, 'installation.json'), JSON.stringify({ id: ownId, owned: {} }))
  }

  const refused: [task: string, ...words: string[]][] = [
    ['start-infrastructure'],
    ['start-infrastructure', '--adopt', '--yes'],
    ['stop-infrastructure'],
    ['stop-infrastructure', '--volumes', '--yes'],
    ['status'],
    ['logs'],
    ['doctor'],
    ['verify'],
  ]
  for (const [task, ...words] of refused)
    it(`is named and refused by ${[task, ...words].join(' ')}, in a fresh clone as with containers of our own`, async () => {
      for (const own of [false, true]) {
        if (own) await installed()
        await engineWith(theirs, own ? ours : {})
        const { status, stdout, stderr } = tasks.task(task, ...words)
        const touched = await changing()
        countFaults(row, 1, touched.length)
        assert.deepEqual(touched, [])
        assert.notEqual(status, 0, stdout + stderr)
        assert.match(
          (stdout + stderr).replaceAll(/\s+/g, ' '),
          /container macula-web-1: Compose project macula, started from \/home\/jane\/macula, created \d+ days ago/,
        )
        assert.match(stdout + stderr, /MACULA_PROJECT=\S+ in \.env/)
        assert.match(stdout + stderr, /docker rm --force macula-web-1/)
        assert.doesNotMatch(stdout + stderr, /\n\s+at |exit code -2/)
        if (!own) assert.deepEqual(await readdir(tasks.stateDir).catch(() => []), [])
      }
    })

  for (const kind of ['container', 'network', 'volume'] as const)
    it(`may have one ${kind} of our names, and start-infrastructure, stop-infrastructure --volumes and doctor leave it`, async () => {
      await installed()
      await engineWith({ [kind]: clashing[kind] })
      for (const [task, ...words] of [
        ['start-infrastructure'],
        ['stop-infrastructure', '--volumes', '--yes'],
        ['doctor'],
      ] as const) {
        const { status, stdout, stderr } = tasks.task(task, ...words)
        const touched = await changing()
        countFaults(row, 1, touched.length)
        assert.deepEqual(touched, [])
        assert.equal(status, 1, stderr)
        assert.match(stdout + stderr, new RegExp(`${kind} macula[-_]\\S+: no Compose project`))
      }
    })

  it('keeps its network and volume when ours are removed with all data', async () => {
    await installed()
    await engineWith({ network: theirs.network, volume: theirs.volume }, ours)
    const { status, stderr } = tasks.task('stop-infrastructure', '--volumes', '--yes')
    assert.equal(status, 0, stderr)
    const told = await changing()
    countFaults(row, 1, told.filter(call => /theirs|macula_data/.test(call)).length)
    assert.deepEqual(told, [
      'stop ours-c',
      'rm --force --volumes ours-c',
      'network rm ours-n',
      'volume rm macula_minio-data',
    ])
  })

  it('keeps everything at teardown, which names it', async () => {
    await installed()
    await engineWith(theirs, ours)
    const { status, stderr } = tasks.task('teardown', '--yes', '--volumes')
    assert.equal(status, 0, stderr)
    const told = await changing()
    countFaults(row, 1, told.filter(call => /theirs|macula_data|macula-web/.test(call)).length)
    assert.ok(told.includes('volume rm macula_minio-data'), told.join('\n'))
    assert.ok(!told.some(call => /theirs|macula_data/.test(call)), told.join('\n'))
    assert.match(stderr, /container macula-web-1: .* left, not created by this installation/)
  })
})

describe('what another installation of the platform created', () => {
  let tasks: StubbedTasks
  beforeEach(async () => {
    tasks = await stubbedTasks()
    const running = listedContainer({
      id: 'c',
      name: 'macula-nginx',
      folder: '/home/jane/macula/.macula',
      installation: 'ffffffffffff',
    })
    await writeFile(join(tasks.folder, 'containers'), running)
    await tasks.docker(`'ps --all --no-trunc'*) cat ${tasks.folder}/containers;; ${workingDocker}`)
  })
  afterEach(() => tasks.remove())

  it('is not stopped from a fresh clone, whose message says where it was started', async () => {
    for (const words of [[], ['--volumes', '--yes']]) {
      const { status, stderr } = tasks.task('stop-infrastructure', ...words)
      const touched = (await tasks.calls()).filter(call => !onlyLooks.test(call))
      countFaults(row, 1, touched.length)
      assert.deepEqual(touched, [])
      assert.equal(status, 1)
      assert.match(stderr, /macula-nginx: Compose project macula, started from \/home\/jane\/macula\/\.macula/)
    }
  })
})
