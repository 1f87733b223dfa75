import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { type Machine, startMachine } from '../../helpers/machine.ts'
import { noMachines } from '../../helpers/requirements.ts'
import { differences, type Snapshot, snapshotOf } from '../../helpers/snapshot.ts'

const steps = ['setup-dnsmasq', 'setup-observability-routing', 'setup-data-routing']

/** Runs a command at a terminal of its own and types the password whenever it is asked for. */
const terminalScript = `
import { spawn } from 'node:child_process'
const child = spawn('script', ['--quiet', '--return', '--command', process.argv[2], '/dev/null'])
let [text, asked] = ['', 0]
child.stdout.on('data', data => {
  text += data
  if (text.split('password for jane').length - 1 > asked) {
    asked += 1
    child.stdin.write('secret\\n')
  }
})
child.on('exit', code => console.log(JSON.stringify({ code, asked, text })))
`

describe('a user of the machine who is not root', { skip: await noMachines() }, () => {
  let machine: Machine
  let untouched: Snapshot
  /** What a step said has to be run as root, as one script. */
  const commands = new Map<string, string>()
  const asJane = (words: readonly string[], input = '') =>
    machine.ask(
      // no terminal, and no session that could ask
      ['runuser', '-u', 'jane', '--', 'env', 'HOME=/home/jane', 'sh', '-c', 'cd ~/macula && exec "$@"', 'sh', ...words],
      { input, timeoutMs: 120_000 },
    )
  const task = (...words: string[]) => asJane(['node', 'lib/cli/launch.mjs', ...words])
  const succeeds = async (...words: string[]) => {
    const { exitCode, stdout, stderr } = await task(...words)
    assert.equal(exitCode, 0, `${words.join(' ')}\n${stdout}${stderr}`)
    return stdout + stderr
  }
  const isAsBefore = async () => assert.equal(differences(untouched, await snapshotOf(machine)).join('\n'), '')
  const sudoers = (line: string) => machine.sh('echo "$1" >/etc/sudoers.d/jane', line)
  const areRefused = async () => {
    for (const step of steps) {
      const started = Date.now()
      const { exitCode, stderr } = await task(step)
      assert.equal(exitCode, 1, stderr)
      assert.match(stderr, /Root is needed to/)
      assert.ok(Date.now() - started < 60_000, `${step} took ${Date.now() - started} ms to say so`)
      commands.set(step, stderr.slice(stderr.indexOf('\n', stderr.indexOf('→')) + 1))
    }
    await isAsBefore()
  }

  before(async () => {
    machine = await startMachine('workstation', line => console.error(line))
    await machine.sh(`
      useradd --create-home --shell /bin/bash --groups docker jane; echo jane:secret | chpasswd
      cp -a . /home/jane/macula; chown -R jane: /home/jane/macula`)
    await succeeds('configure', '--yes')
    untouched = await snapshotOf(machine)
  })
  after(() => machine?.end())

  test('is told the exact commands where there is no sudo, and nothing is changed', async () => {
    await areRefused()
    assert.match(
      commands.get('setup-dnsmasq') ?? '',
      /^env DEBIAN_FRONTEND=noninteractive apt-get -q install .*dnsmasq-base$/m,
    )
    assert.match(
      commands.get('setup-data-routing') ?? '',
      /^systemctl enable --now macula-route-timescaledb-5432\.socket macula-route-\S+\.socket/m,
    )
  })

  test('is told the same where sudo wants a password and nobody can type it', async () => {
    await machine.sh('DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends sudo')
    await sudoers('jane ALL=(ALL) ALL')
    untouched = await snapshotOf(machine)
    await areRefused()
  })

  test('types the password once, and is told before what for', async () => {
    const script = ['node', '--input-type=module', '-', 'node lib/cli/launch.mjs setup-dnsmasq']
    const { stdout } = await asJane(script, terminalScript)
    const { code, asked, text } = JSON.parse(stdout) as { code: number; asked: number; text: string }
    assert.equal(code, 0, text)
    assert.equal(asked, 1, text)
    assert.match(text, /sudo is needed to change how this machine resolves names \(\d+ changes[\s\S]*password for jane/)
    assert.equal(await machine.sh("getent hosts grafana.macula.local | awk '{ print $1 }'"), '127.0.0.4')
    await sudoers('jane ALL=(ALL) NOPASSWD: ALL')
    await succeeds('teardown', '--yes')
    await sudoers('jane ALL=(ALL) ALL')
    await isAsBefore()
  })

  test('is not asked at all where sudo wants no password, and has all of it undone', async () => {
    await sudoers('jane ALL=(ALL) NOPASSWD: ALL')
    untouched = await snapshotOf(machine)
    for (const step of steps) await succeeds(step)
    for (const step of steps) assert.match(await succeeds(step), /Nothing to do/)
    await succeeds('teardown', '--yes')
    await isAsBefore()
  })

  test('has nothing left to do once root has run these commands', async () => {
    await machine.sh('rm /etc/sudoers.d/jane')
    for (const step of steps) {
      await machine.run(['bash', '-e'], { input: commands.get(step) ?? '' })
      assert.match(await succeeds(step), /Nothing to do/)
    }
    assert.equal(await machine.sh("getent hosts grafana.macula.local | awk '{ print $1 }'"), '127.0.0.4')
  })
})
