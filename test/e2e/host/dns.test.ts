import assert from 'node:assert/strict'
import { readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { namesToCheck } from '../../../lib/dns/verify.ts'
import { hasTool } from '../../../lib/system/exec.ts'
import { inOwnNetwork, runInOwnNetwork, whyNoNetwork } from '../../helpers/network.ts'
import { startDnsmasq, usePlainMachine } from '../../helpers/plain-machine.ts'
import { run } from '../../helpers/run.ts'

const title = 'names on a machine with a plain /etc/resolv.conf and without systemd'
if (inOwnNetwork) describe(title, machineTests)
else {
  const reason = whyNoNetwork() ?? ((await hasTool('dnsmasq')) ? undefined : 'dnsmasq is not installed')
  it(title, { skip: reason ?? false }, () => runInOwnNetwork(import.meta.url, 400_000))
}

function machineTests() {
  const machine = usePlainMachine()
  const { succeeds, given, remember, isUntouched, ourListeners, problems, getent } = machine
  const fileTimes = async () =>
    Promise.all(
      ['/etc/resolv.conf', '/etc/macula/dnsmasq.conf', '/etc/macula/upstream-resolv.conf'].map(
        async path => (await stat(path)).mtimeMs,
      ),
    )

  it('all answer, other names are answered by whom they were, and teardown leaves no trace', async () => {
    assert.equal((await problems()).length, 2 * namesToCheck(machine.platform).length)
    assert.match(await succeeds('setup-dnsmasq', '--dry-run'), /^change \/etc\/resolv.conf$/m)
    await isUntouched()
    await succeeds('setup-dnsmasq')
    assert.deepEqual(await problems(), [])
    assert.equal(await getent('www.example.test'), '192.0.2.80')
    assert.equal(await getent('www'), '192.0.2.80', 'the search domain is kept')
    assert.equal(await getent('missing.example.test'), '')
    assert.equal((await stat('/etc/resolv.conf')).mode & 0o777, 0o644)
    assert.doesNotMatch(await readFile('/etc/resolv.conf', 'utf8'), /rotate/)
    const open = await ourListeners()
    assert.deepEqual([...new Set(open.map(({ ip, port }) => `${ip}:${port}`))], ['127.0.0.1:53'])
    const status = await readFile(`/proc/${open[0]?.process?.pid}/status`, 'utf8')
    assert.doesNotMatch(status, /^Uid:\s+0\b/m, 'dnsmasq is not root once it has its port')
    await succeeds('teardown', '--yes')
    await isUntouched()
    assert.equal(await getent('www.example.test'), '192.0.2.80')
    await assert.rejects(stat(machine.stateDir))
  })

  it('are left alone by a second run: same process, same files, nothing to do', async () => {
    await succeeds('setup-dnsmasq')
    const [times, before] = [await fileTimes(), await ourListeners()]
    const journal = await readFile(join(machine.stateDir, 'journal.jsonl'))
    assert.match(await succeeds('setup-dnsmasq'), /Nothing to do/)
    assert.deepEqual(await fileTimes(), times)
    assert.deepEqual(await ourListeners(), before)
    assert.deepEqual(await readFile(join(machine.stateDir, 'journal.jsonl')), journal)
  })

  it('are taken over by --adopt where the state folder was lost, and undone then', async () => {
    await succeeds('setup-dnsmasq')
    await rm(machine.stateDir, { recursive: true })
    const refused = await machine.task('setup-dnsmasq', '--yes')
    assert.equal(refused.exitCode, 1, refused.stderr)
    assert.match(refused.stderr, /This checkout set up 3 files or processes before it had its present id/)
    assert.match(refused.stderr, /task setup-dnsmasq -- --adopt|setup-dnsmasq -- --adopt/)
    const silent = await machine.task('setup-dnsmasq', '--adopt')
    assert.match(silent.stderr, /there is no terminal to prompt on/)
    assert.equal(await getent('grafana.macula.local'), '127.0.0.4', 'nothing was removed yet')
    await succeeds('setup-dnsmasq', '--adopt', '--yes')
    assert.deepEqual(await problems(), [])
    assert.match(await succeeds('setup-dnsmasq'), /Nothing to do/)
    await succeeds('teardown', '--yes')
    assert.deepEqual(await ourListeners(), [])
    assert.deepEqual(await machine.changes(), ['resolv.conf'])
    assert.equal(
      await readFile('/etc/resolv.conf', 'utf8'),
      'search example.test\noptions timeout:1\nnameserver 127.0.0.99\n',
      'its order, its mode and an option that we had left out are lost with the journal',
    )
  })

  it('follow the settings: a new domain restarts dnsmasq and touches no other file', async () => {
    await succeeds('setup-dnsmasq')
    const [before] = await ourListeners()
    const [resolvConf] = await fileTimes()
    machine.environment.MACULA_DOMAIN = 'other.test'
    await succeeds('setup-dnsmasq')
    delete machine.environment.MACULA_DOMAIN
    assert.equal(await getent('grafana.other.test'), '127.0.0.4')
    assert.equal(await getent('grafana.macula.local'), '')
    assert.notEqual((await ourListeners())[0]?.process?.pid, before?.process?.pid)
    assert.equal((await fileTimes())[0], resolvConf)
  })

  it('come back when dnsmasq was killed, and runs with an old configuration are noticed', async () => {
    await succeeds('setup-dnsmasq')
    const [holder] = await ourListeners()
    process.kill(holder!.process!.pid, 'SIGKILL')
    assert.equal(await getent('www.example.test'), '192.0.2.80', 'the former servers stand in')
    await succeeds('setup-dnsmasq')
    assert.deepEqual(await problems(), [])
  })

  it('need no other server: a machine that had none asks nobody', async () => {
    await given('')
    await succeeds('setup-dnsmasq')
    assert.deepEqual(await problems(), [])
    assert.match(await readFile('/etc/macula/dnsmasq.conf', 'utf8'), /^no-resolv$/m)
  })

  it('work where there was no /etc/resolv.conf, and where it was a link', async () => {
    await rm('/etc/resolv.conf')
    await remember()
    await succeeds('setup-dnsmasq')
    assert.deepEqual(await problems(), [])
    await succeeds('teardown', '--yes')
    await isUntouched()

    await writeFile('/etc/resolv.conf.mine', 'nameserver 127.0.0.99\n')
    await symlink('resolv.conf.mine', '/etc/resolv.conf')
    await remember()
    await succeeds('setup-dnsmasq')
    assert.deepEqual(await problems(), [])
    assert.equal(await getent('www.example.test'), '192.0.2.80')
    await succeeds('teardown', '--yes')
    await isUntouched()
    assert.equal(await readlink('/etc/resolv.conf'), 'resolv.conf.mine')
  })

  it('work where /etc/resolv.conf is a mount, as in a container', async () => {
    const mounted = join(machine.folder, 'resolv.conf')
    await writeFile(mounted, 'nameserver 127.0.0.99\n')
    await run(['mount', '--bind', mounted, '/etc/resolv.conf'])
    try {
      await remember()
      await succeeds('setup-dnsmasq')
      assert.deepEqual(await problems(), [])
      await succeeds('teardown', '--yes')
      await isUntouched()
    } finally {
      await run(['umount', '/etc/resolv.conf'])
    }
  })

  it('go to another address where port 53 is taken, and through that server where it was ours', async () => {
    await given('nameserver 127.0.0.1\n')
    const other = startDnsmasq('127.0.0.1', '--server=127.0.0.99')
    try {
      await succeeds('setup-dnsmasq')
      assert.equal(await getent('grafana.macula.local'), '127.0.0.4')
      assert.equal(await getent('www.example.test'), '192.0.2.80')
      assert.match(await succeeds('setup-dnsmasq'), /Nothing to do/)
    } finally {
      other.kill()
    }
  })
}
