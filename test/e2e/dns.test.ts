import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { chmod, mkdtemp, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { checkServer, checkThroughResolver, namesToCheck } from '../../lib/dns/verify.ts'
import { root } from '../../lib/env.ts'
import { ask, hasTool, type Result, run } from '../../lib/exec.ts'
import type { Platform } from '../../lib/platform.ts'
import { listeners } from '../../lib/ports.ts'
import { type OwnEtc, ownEtc } from '../helpers/etc.ts'
import { inOwnNetwork, runInOwnNetwork, whyNoNetwork } from '../helpers/network.ts'
import { exampleSettings, goodPlatform } from '../helpers/platform.ts'

if (!inOwnNetwork) {
  const reason = whyNoNetwork() ?? ((await hasTool('dnsmasq')) ? undefined : 'dnsmasq is not installed')
  it('names, in a private copy of the machine', { skip: reason ?? false }, () =>
    runInOwnNetwork(import.meta.url, 400_000),
  )
} else {
  describe('names on a machine with a plain /etc/resolv.conf and without systemd', machineTests)
}

function machineTests() {
  let folder: string
  let etc: OwnEtc
  let platform: Platform
  let environment: Record<string, string>
  let upstream: ChildProcess
  let untouched: Awaited<ReturnType<OwnEtc['state']>>

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-dns-'))
    etc = await ownEtc()
    environment = {
      ...(process.env as Record<string, string>),
      MACULA_ENV_FILE: join(folder, 'env'),
      MACULA_STATE_DIR: join(folder, 'state'),
      MACULA_LOCAL_COMPOSE: join(folder, 'docker-compose.local.yml'),
    }
    const settings = Object.entries(await exampleSettings()).map(([name, value]) => `${name}=${value}\n`)
    await writeFile(environment.MACULA_ENV_FILE!, settings.join(''))
    platform = await goodPlatform()
    upstream = spawn('dnsmasq', [
      ...['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file=', '--user=root'],
      ...['--listen-address=127.0.0.99', '--bind-interfaces', '--port=53', '--host-record=www.example.test,192.0.2.80'],
      ...['--local=/example.test/'],
    ])
  })
  after(async () => {
    upstream.kill()
    await etc.remove()
    await rm(folder, { recursive: true })
  })
  beforeEach(async () => {
    await etc.reset()
    await given('search example.test\noptions timeout:1 rotate\nnameserver 127.0.0.99\n')
  })
  afterEach(async () => {
    await task('teardown', '--yes')
    await rm(environment.MACULA_STATE_DIR!, { recursive: true, force: true })
  })

  const task = (name: string, ...words: string[]): Promise<Result> =>
    ask([process.execPath, join(root, 'lib/launch.mjs'), name, ...words], { env: environment, timeoutMs: 60_000 })
  const succeeds = async (name: string, ...words: string[]) => {
    const { exitCode, stdout, stderr } = await task(name, ...words)
    assert.equal(exitCode, 0, `${name}: ${stdout}${stderr}`)
    return stdout + stderr
  }
  const refused = async (expected: RegExp) => {
    const { exitCode, stderr } = await task('setup-dnsmasq')
    assert.equal(exitCode, 1, stderr)
    assert.match(stderr, expected)
    await isUntouched()
  }
  async function given(resolvConf: string) {
    await rm('/etc/resolv.conf', { force: true })
    await writeFile('/etc/resolv.conf', resolvConf)
    await chmod('/etc/resolv.conf', 0o640)
    untouched = await etc.state()
  }
  async function isUntouched() {
    assert.deepEqual(await etc.state(), untouched)
    assert.deepEqual(await ourListeners(), [])
  }
  const ourListeners = async () =>
    // its other ports are those it sends its own questions from
    (await listeners()).filter(
      ({ ip, port, process }) => process?.name === 'dnsmasq' && port === 53 && ip !== '127.0.0.99',
    )
  const problems = async () => {
    const names = namesToCheck(platform)
    const checks = [
      ...(await checkThroughResolver(names)),
      ...(await checkServer({ ip: '127.0.0.1', port: 53 }, names)),
    ]
    return checks.flatMap(({ problem }) => problem ?? [])
  }
  const getent = async (name: string) => (await ask(['getent', 'hosts', name])).stdout.split(/\s+/)[0]
  const fileTimes = async () =>
    Promise.all(
      ['/etc/resolv.conf', '/etc/macula/dnsmasq.conf', '/etc/macula/upstream-resolv.conf'].map(
        async path => (await stat(path)).mtimeMs,
      ),
    )

  it('all answer, other names are answered by whom they were, and teardown leaves no trace', async () => {
    assert.equal((await problems()).length, 2 * namesToCheck(platform).length)
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
    await assert.rejects(stat(environment.MACULA_STATE_DIR!))
  })

  it('are left alone by a second run: same process, same files, nothing to do', async () => {
    await succeeds('setup-dnsmasq')
    const [times, before] = [await fileTimes(), await ourListeners()]
    const journal = await readFile(join(environment.MACULA_STATE_DIR!, 'journal.jsonl'))
    assert.match(await succeeds('setup-dnsmasq'), /Nothing to do/)
    assert.deepEqual(await fileTimes(), times)
    assert.deepEqual(await ourListeners(), before)
    assert.deepEqual(await readFile(join(environment.MACULA_STATE_DIR!, 'journal.jsonl')), journal)
  })

  it('follow the settings: a new domain restarts dnsmasq and touches no other file', async () => {
    await succeeds('setup-dnsmasq')
    const [before] = await ourListeners()
    const [resolvConf] = await fileTimes()
    environment.MACULA_DOMAIN = 'other.test'
    await succeeds('setup-dnsmasq')
    delete environment.MACULA_DOMAIN
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
    untouched = await etc.state()
    await succeeds('setup-dnsmasq')
    assert.deepEqual(await problems(), [])
    await succeeds('teardown', '--yes')
    await isUntouched()

    await writeFile('/etc/resolv.conf.mine', 'nameserver 127.0.0.99\n')
    await symlink('resolv.conf.mine', '/etc/resolv.conf')
    untouched = await etc.state()
    await succeeds('setup-dnsmasq')
    assert.deepEqual(await problems(), [])
    assert.equal(await getent('www.example.test'), '192.0.2.80')
    await succeeds('teardown', '--yes')
    await isUntouched()
    assert.equal(await readlink('/etc/resolv.conf'), 'resolv.conf.mine')
  })

  it('work where /etc/resolv.conf is a mount, as in a container', async () => {
    const mounted = join(folder, 'resolv.conf')
    await writeFile(mounted, 'nameserver 127.0.0.99\n')
    await run(['mount', '--bind', mounted, '/etc/resolv.conf'])
    try {
      untouched = await etc.state()
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
    const other = spawn('dnsmasq', [
      ...['--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', '--pid-file=', '--user=root'],
      ...['--listen-address=127.0.0.1', '--bind-interfaces', '--server=127.0.0.99'],
    ])
    try {
      await succeeds('setup-dnsmasq')
      assert.equal(await getent('grafana.macula.local'), '127.0.0.4')
      assert.equal(await getent('www.example.test'), '192.0.2.80')
      assert.match(await succeeds('setup-dnsmasq'), /Nothing to do/)
    } finally {
      other.kill()
    }
  })

  it('are refused with the name of the holder where every address is taken', async () => {
    const socket = spawn('socat', ['-u', 'UDP4-RECVFROM:53,bind=0.0.0.0,fork,reuseaddr', 'OPEN:/dev/null'])
    try {
      await pause(300)
      await refused(/dnsmasq cannot listen: 127\.0\.0\.1:53 is held by socat \(pid \d+\)/)
    } finally {
      socket.kill()
    }
  })

  for (const [state, prepare, expected] of [
    [
      'is kept by another program',
      () => given('# Generated by dhcpcd from eth0.dhcp\nnameserver 127.0.0.99\n'),
      /resolves names in a way that the platform does not know[\s\S]*kept by dhcpcd[\s\S]*RESOLVER/,
    ],
    [
      'leads nowhere',
      async () => {
        await rm('/etc/resolv.conf')
        await symlink('../run/systemd/resolve/stub-resolv.conf', '/etc/resolv.conf')
        untouched = await etc.state()
      },
      /a link to \.\.\/run\/systemd\/resolve\/stub-resolv\.conf, which is not there/,
    ],
    [
      'is on a read-only file system',
      () => run(['mount', '-o', 'remount,ro', '/etc']),
      /cannot be changed on this machine; nothing was changed[\s\S]*read-only/,
    ],
  ] as const) {
    it(`are refused, with nothing changed, where /etc/resolv.conf ${state}`, async () => {
      await prepare()
      await refused(expected)
    })
  }

  it('survive a set-up that is broken off after any of its changes, by running again or by teardown', async () => {
    await succeeds('setup-dnsmasq')
    const begun = (await readFile(join(environment.MACULA_STATE_DIR!, 'journal.begun'), 'utf8')).trimEnd().split('\n')
    await succeeds('teardown', '--yes')
    assert.ok(begun.length >= 6, `${begun.length} changes`)
    for (const [signal, then] of [
      ['SIGKILL', 'teardown'],
      ['SIGINT', 'again'],
    ] as const) {
      for (let changes = 1; changes <= begun.length; changes++) {
        const reached = await breakOffAfter(changes, signal)
        if (then === 'again') {
          await succeeds('setup-dnsmasq')
          assert.deepEqual(await problems(), [], `${signal} after ${reached} changes`)
        }
        await succeeds('teardown', '--yes')
        await isUntouched()
      }
    }
  })

  /** Ends a set-up as soon as it has begun that many changes; how many it had begun in the end. */
  async function breakOffAfter(changes: number, signal: NodeJS.Signals): Promise<number> {
    const path = join(environment.MACULA_STATE_DIR!, 'journal.begun')
    const begun = async () => (await readFile(path, 'utf8').catch(() => '')).split('\n').length - 1
    const child = spawn(process.execPath, [join(root, 'lib/launch.mjs'), 'setup-dnsmasq'], {
      env: environment,
      stdio: 'ignore',
    })
    const ended = new Promise<number | null>(resolve => child.once('exit', resolve))
    const deadline = Date.now() + 30_000
    while ((await begun()) < changes && child.exitCode === null && Date.now() < deadline) await pause(1)
    const wasRunning = child.kill(signal)
    const exitCode = await ended
    if (wasRunning && signal === 'SIGINT' && exitCode !== 0) assert.equal(exitCode, 130)
    return begun()
  }

  it('are what a task run by another user says it would need, as commands', async context => {
    const asNobody = ['setpriv', '--reuid=nobody', '--regid=nogroup', '--clear-groups']
    const launcher = join(root, 'lib/launch.mjs')
    if ((await ask([...asNobody, 'test', '-r', launcher])).exitCode !== 0)
      return context.skip(`another user cannot read ${root}`)
    await run(['chown', '-R', 'nobody', folder])
    await chmod('/etc/resolv.conf', 0o644)
    untouched = await etc.state()
    const words = [...asNobody, process.execPath, launcher]
    const { exitCode, stderr } = await ask([...words, 'setup-dnsmasq'], { env: environment, timeoutMs: 60_000 })
    assert.equal(exitCode, 1, stderr)
    assert.match(stderr, /Root is needed to change how this machine resolves names/)
    assert.match(stderr, /install -D -m 0644 \/dev\/stdin \/etc\/macula\/dnsmasq\.conf <<'EOF'/)
    assert.match(stderr, /setsid \S+dnsmasq --keep-in-foreground/)
    await isUntouched()
  })
}
