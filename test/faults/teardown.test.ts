import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { openJournal } from '../../lib/journal/journal.ts'
import { root } from '../../lib/system/checkout.ts'
import { exists } from '../../lib/system/files.ts'
import { asRoot } from '../../lib/system/privilege.ts'
import { countFaults } from '../helpers/fault-table.ts'
import { nodeNamed } from '../helpers/foreign-cluster.ts'
import { listedContainer, listedNetwork, listedVolume, ownId } from '../helpers/things.ts'

/** Stands for an engine with everything that teardown removes; refuses what $FAIL says. */
const docker = `#!/bin/sh
case "$*" in
  version*) echo 29.0.0; exit ;;
  'inspect --type container f00d') cat <<'END'
${JSON.stringify([nodeNamed('macula')])}
END
  exit ;;
  "ps --all"*) cat <<'END'
${['macula-nginx', 'macula-grafana'].map(name => listedContainer({ id: name, name, installation: ownId })).join('')}END
  exit ;;
  "network ls"*) cat <<'END'
${listedNetwork({ id: 'macula-infra', installation: ownId })}END
  exit ;;
  "volume ls"*) cat <<'END'
${listedVolume({ id: 'macula_grafana', installation: ownId })}END
  exit ;;
esac
echo "$*" >>"$LOG"
[ -z "$FAIL" ] || case "$*" in $FAIL) echo "refused: $*" >&2; exit 1 ;; esac`

const kubeconfig = (name: string) => `apiVersion: v1
kind: Config
clusters:
- name: ${name}
  cluster: { server: 'https://127.0.0.1:1' }
contexts:
- name: ${name}
  context: { cluster: ${name}, user: ${name} }
users:
- name: ${name}
  user: { token: x }
current-context: ${name}
`

/** A teardown in which one part fails does all the others, and says at its end what it could not do. */
describe('a teardown', { skip: userInfo().uid !== 0 && 'needs root' }, () => {
  let folder: string
  const path = (...names: string[]) => join(folder, ...names)
  const read = (name: string) => readFile(path(name), 'utf8')
  const owner = { uid: userInfo().uid, gid: userInfo().gid }

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-teardown-'))
    await mkdir(path('bin'))
    await mkdir(path('state'))
    await writeFile(path('bin', 'docker'), docker, { mode: 0o755 })
    await writeFile(path('state', 'installation.json'), JSON.stringify({ id: ownId, owned: { node: ['f00d'] } }))
    for (const name of ['unit', 'resolv', 'one', 'two']) await writeFile(path(name), `${name} before\n`)
    for (const name of ['one', 'two']) await writeFile(path(name), kubeconfig('work'))
    await writeFile(path('state', 'kubeconfig'), 'current-context: kind-macula\n')
    await mkdir(path('state', 'cluster'))
    await writeFile(path('state', 'cluster', 'made-network'), '')
    const open = (scope: string) => openJournal({ stateDir: path('state'), privilege: asRoot, scope })
    await open('routes').afterUndo(['tell'])
    await open('routes').writeFile(path('unit'), 'unit ours\n', { owner })
    await open('dns').writeFile(path('resolv'), 'resolv ours\n', { owner })
    const { withContext } = await import('../../lib/journal/kubeconfig.ts')
    const block = { context: 'kind-macula' }
    for (const name of ['one', 'two']) {
      const text = withContext(kubeconfig('work'), 'kind-macula', kubeconfig('kind-macula'))
      await open('cluster/kubeconfig').writeFile(path(name), text, { owner, block })
    }
  })
  afterEach(async () => {
    spawnSync('chattr', ['-R', '-i', folder])
    await rm(folder, { recursive: true })
  })

  function teardown(words: readonly string[], environment: Record<string, string> = {}) {
    const env = {
      PATH: `${path('bin')}:${process.env.PATH}`,
      HOME: folder,
      LOG: path('log'),
      MACULA_ENV_FILE: path('env'),
      MACULA_STATE_DIR: path('state'),
      ...environment,
    }
    const words2 = [join(root, 'lib/cli/launch.mjs'), 'teardown', ...words]
    return spawnSync(process.execPath, words2, { encoding: 'utf8', input: '', env })
  }

  /** The parts, and whether each has been done. */
  async function done(): Promise<Record<string, boolean>> {
    const log = (await read('log').catch(() => '')).split('\n')
    const said = (line: string) => log.includes(line)
    return {
      nodes: said('rm --force --volumes macula-control-plane'),
      containers: said('rm --force --volumes macula-nginx macula-grafana'),
      network: said('network rm macula-infra'),
      "cluster's network": said('network rm kind'),
      volumes: said('volume rm macula_grafana'),
      unit: (await read('unit')) === 'unit before\n',
      resolv: (await read('resolv')) === 'resolv before\n',
      one: (await read('one')) === kubeconfig('work'),
      two: (await read('two')) === kubeconfig('work'),
      told: await exists(path('told')),
    }
  }
  const tell = (exitCode = 0) =>
    writeFile(path('bin', 'tell'), `#!/bin/sh\ntouch ${path('told')}\necho tell refused >&2\nexit ${exitCode}\n`, {
      mode: 0o755,
    })

  it('undoes all of it', async () => {
    await tell()
    const { status, stderr } = teardown(['--yes', '--volumes'])
    assert.equal(status, 0, stderr)
    assert.deepEqual(
      Object.entries(await done()).filter(([, isDone]) => !isDone),
      [],
    )
    assert.equal(await exists(path('state')), false)
  })

  it('lists each of these steps with --dry-run, and writes nothing', async () => {
    await tell()
    const before = await readdir(path('state'), { recursive: true })
    const { status, stdout } = teardown(['--dry-run', '--volumes', '--purge'])
    assert.equal(status, 0)
    assert.deepEqual(stdout.trimEnd().split('\n'), [
      'cluster node macula-control-plane: to be removed, with all that runs in it',
      'container macula-nginx: to be removed',
      'container macula-grafana: to be removed',
      'network macula-infra: to be removed',
      'network kind: to be removed, unless another cluster uses it',
      'volume macula_grafana: to be deleted, with its data',
      `${path('two')}: to be restored`,
      `${path('one')}: to be restored`,
      `${path('resolv')}: to be restored`,
      `${path('unit')}: to be restored`,
      'tell: to be run',
      `${path('state')}: to be deleted`,
    ])
    assert.deepEqual(await readdir(path('state'), { recursive: true }), before)
    assert.equal(Object.values(await done()).some(Boolean), false)
  })

  // the part that fails, how it is made to, and what is said of it; the engine removes a container that it could not stop
  const immutable = (name: string) => ({ prepare: async () => void spawnSync('chattr', ['+i', path(name)]) })
  const refused = (pattern: string) => ({ environment: { FAIL: pattern } })
  const failures: [string, { prepare?: () => Promise<void>; environment?: Record<string, string> }, RegExp][] = [
    ['nodes', refused('rm*control-plane*'), /Remove the cluster: .*refused: rm/],
    ['containers', refused('rm*macula-nginx*'), /Stop and remove the containers: .*refused: rm/],
    ['network', refused('network rm macula-infra'), /Remove the network: .*refused: network rm/],
    ['volumes', refused('volume rm*'), /Delete the data: .*refused: volume rm/],
    ['unit', immutable('unit'), /\/unit: .*could not be written/],
    ['resolv', immutable('resolv'), /\/resolv: .*could not be written/],
    ['one', immutable('one'), /\/one: .*could not be written/],
    ['told', { prepare: () => tell(1) }, /tell: .*tell refused/],
  ]
  for (const [part, { prepare, environment }, message] of failures)
    it(`in which one part fails (${part}) does all the others, says so at its end, and finishes when it is run again`, async t => {
      await tell()
      await prepare?.()
      if (
        prepare &&
        part !== 'told' &&
        !/i/.test(spawnSync('lsattr', [path(part)], { encoding: 'utf8' }).stdout.split(' ')[0] ?? '')
      )
        return t.skip('this file system has no immutable files')
      const { status, stderr } = teardown(['--yes', '--volumes'], environment)
      assert.equal(status, 1, stderr)
      const left = Object.entries(await done()).filter(([name, isDone]) => !isDone && name !== part)
      countFaults('teardown parts left undone by one failure', Object.keys(await done()).length - 1, left.length)
      assert.deepEqual(left, [], stderr)
      const end = stderr.slice(stderr.indexOf('✗ Not everything could be undone'))
      assert.match(end, message)
      assert.match(end, /→ .*The journal stays in .*run this again/)
      assert.doesNotMatch(stderr, /\n\s+at .*:\d+:\d+/)
      assert.equal(await exists(path('state')), true)
      spawnSync('chattr', ['-i', path('unit'), path('resolv'), path('one')])
      await tell()
      const again = teardown(['--yes', '--volumes'])
      assert.equal(again.status, 0, again.stderr)
      assert.deepEqual(
        Object.entries(await done()).filter(([, isDone]) => !isDone),
        [],
      )
      assert.equal(await exists(path('state')), false)
    })

  it('in which everything fails says all of it in one report', async () => {
    await tell(1)
    for (const name of ['unit', 'one']) await immutable(name).prepare()
    const { status, stderr } = teardown(['--yes', '--volumes'], { FAIL: '*' })
    assert.equal(status, 1)
    const end = stderr.slice(stderr.indexOf('✗ Not everything could be undone'))
    for (const [part, , message] of failures) if (part !== 'resolv') assert.match(end, message, part)
  })

  it('takes the context out of every kubeconfig without kubectl', async () => {
    await tell()
    const programs = path('programs')
    await mkdir(programs)
    for (const place of ['/usr/bin', '/bin', '/usr/sbin', '/sbin'])
      for (const name of await readdir(place))
        if (!/^(kubectl|kind|docker)$/.test(name))
          await symlink(join(place, name), join(programs, name)).catch(() => {})
    const { status, stderr } = teardown(['--yes', '--volumes'], { PATH: `${path('bin')}:${programs}` })
    assert.equal(status, 0, stderr)
    assert.deepEqual(
      Object.entries(await done()).filter(([, isDone]) => !isDone),
      [],
    )
  })

  it('keeps a part that somebody else has changed since, says which, and goes on', async () => {
    await tell()
    await writeFile(path('resolv'), 'theirs\n')
    const { status, stderr } = teardown(['--yes', '--volumes'])
    assert.equal(status, 0, stderr)
    assert.match(stderr, /resolv: kept: changed since by somebody else/)
    assert.match(stderr, /! 1 change kept/)
    assert.equal(await read('resolv'), 'theirs\n')
    assert.deepEqual(
      Object.entries(await done()).filter(([name, isDone]) => !isDone && name !== 'resolv'),
      [],
    )
    assert.equal(await exists(path('state', 'journal.jsonl')), true)
  })
})
