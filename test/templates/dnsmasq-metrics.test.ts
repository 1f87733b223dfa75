import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { dnsmasqConfig } from '../../lib/dns/config.ts'
import { query } from '../../lib/dns/query.ts'
import { resolvers } from '../../lib/dns/resolver.ts'
import { possibleDnsListeners } from '../../lib/platform/dns-server.ts'
import { addressText } from '../../lib/system/address.ts'
import { programPath } from '../../lib/system/machine.ts'
import { alpineTools } from '../helpers/alpine.ts'
import { opened } from '../helpers/connections.ts'
import { contentOf, renderExample } from '../helpers/example.ts'
import { us } from '../helpers/owner.ts'
import { goodPlatform } from '../helpers/platform.ts'
import { run } from '../helpers/run.ts'
import { freePort, until } from '../helpers/sockets.ts'
import { debianValidator } from '../helpers/validators.ts'

const platform = await goodPlatform()
const files = await renderExample()
const tools = await alpineTools()
const promtool = await debianValidator('promtool')
const program = await programPath('dnsmasq')
const skip = tools === '' ? 'busybox is not installed' : program === undefined && 'dnsmasq is not installed'

describe('what dnsmasq counts', { skip }, () => {
  let folder = ''
  let asking: ChildProcess | undefined
  let dnsmasq: ChildProcess | undefined
  const listen = { ip: '127.0.0.1', port: 0 }

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-dnsmasq-'))
    for (const name of ['dnsmasq.sh', 'dnsmasq.awk'])
      await writeFile(join(folder, name), contentOf(files, `config/machine-metrics/${name}`))
    listen.port = await freePort()
  })
  after(async () => {
    asking?.kill()
    await stopDnsmasq()
    await rm(folder, { recursive: true })
  })

  it('is read where ours answers, and not from another server on the way', async () => {
    const otherPort = await freePort()
    const other = await startDnsmasq(
      otherPort,
      `port=${otherPort}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\npid-file=\ntxt-record=other.invalid,1`,
    )
    try {
      dnsmasq = await startOurs()
      for (const name of ['grafana', 'any']) await query(listen, `${name}.${platform.domain}`, 'A')
      ask(`127.0.0.1:${otherPort} ${addressText(listen)}`)
      await until(async () => (await metrics()).get('dnsmasq_up') === 1, 'dnsmasq is asked')
      const seen = await metrics()
      // the two above; the questions of the test, and none of those that ask for this
      const before = seen.get('dnsmasq_hits') ?? 0
      assert.ok(before >= 2, String(before))
      assert.equal(seen.get('dnsmasq_misses'), 0)
      assert.equal(seen.get('dnsmasq_cachesize'), 150)
      for (let asked = 0; asked < 5; asked += 1) await query(listen, `n${asked}.${platform.domain}`, 'A')
      await until(async () => (await metrics()).get('dnsmasq_hits') === before + 5, 'five more are counted')
    } finally {
      other.kill()
    }
  })

  it('has the questions sent on by server, also those that failed', async () => {
    await stopDnsmasq()
    const upstream = `127.0.0.1#${await freePort()}`
    dnsmasq = await startOurs(`server=${upstream}`)
    await query(listen, 'elsewhere.example', 'A')
    const sent = `dnsmasq_servers_queries{server="${upstream}"}`
    await until(async () => ((await metrics()).get(sent) ?? 0) > 0, 'a question is sent on')
    const seen = await metrics()
    assert.ok((seen.get('dnsmasq_misses') ?? 0) > 0)
    assert.ok(seen.has(`dnsmasq_servers_queries_failed{server="${upstream}"}`))
  })

  it('is in the form that Prometheus reads', { skip: promtool.skip }, async () => {
    await run([promtool.program, 'check', 'metrics'], { input: await text(), env: promtool.env })
  })

  it('is nothing but dnsmasq_up 0 once it has gone, also where something else listens there that never answers', async () => {
    await stopDnsmasq()
    await until(async () => (await metrics()).get('dnsmasq_up') === 0, 'it is said to be gone')
    assert.equal((await metrics()).size, 1)
    const server = await silentServer(listen.port)
    try {
      await rm(join(folder, 'dnsmasq.txt'))
      await until(async () => (await metrics()).get('dnsmasq_up') === 0, 'it is said to be gone')
    } finally {
      server.close()
    }
  })

  it('reads no more than it needs of a server that never stops talking', async () => {
    const flood = createServer(socket => {
      const more = () => {
        while (socket.write(Buffer.alloc(65_536, 1))) sent += 65_536
      }
      socket.on('drain', more).on('error', () => socket.destroy())
      more()
    })
    let sent = 0
    flood.listen(listen.port, '127.0.0.1')
    await once(flood, 'listening')
    try {
      await rm(join(folder, 'dnsmasq.txt'), { force: true })
      await until(async () => (await metrics()).get('dnsmasq_up') === 0, 'it is said to be gone')
      assert.ok(sent < 50_000_000, `${sent} bytes were taken`)
    } finally {
      flood.close()
    }
  })

  it('ends with what the engine stops its container with', async () => {
    const ended = once(asking!, 'exit')
    asking?.kill('SIGQUIT')
    assert.deepEqual(await ended, [0, null])
  })

  function ask(DNSMASQ: string): void {
    asking = spawn('sh', [join(folder, 'dnsmasq.sh')], {
      stdio: 'inherit',
      env: { PATH: `${tools}${process.env.PATH}`, DNSMASQ, RUN: folder, ROUND_SECONDS: '0.2' },
    })
  }

  const text = () => readFile(join(folder, 'dnsmasq.txt'), 'utf8').catch(() => '')

  async function metrics(): Promise<Map<string, number>> {
    const lines = (await text()).split('\n').filter(line => line !== '' && !line.startsWith('#'))
    return new Map(lines.map(line => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]))
  }

  async function startOurs(more = ''): Promise<ChildProcess> {
    const config = await dnsmasqConfig(platform, { listen, upstream: { kind: 'none' }, user: undefined, owner: us })
    return startDnsmasq(listen.port, `${config.text}\n${more}`)
  }

  async function stopDnsmasq(): Promise<void> {
    if (dnsmasq === undefined || dnsmasq.exitCode !== null) return
    const ended = once(dnsmasq, 'exit')
    dnsmasq.kill()
    await ended
  }
})

describe('the addresses where dnsmasq is looked for', () => {
  it('are all that it may listen at, whatever the resolver', () => {
    const possible = possibleDnsListeners('127.0.0.9').map(addressText)
    for (const { kind, listens } of resolvers)
      for (const address of listens('127.0.0.9')) assert.ok(possible.includes(addressText(address)), kind)
    assert.deepEqual(possible, [...new Set(possible)])
  })
})

/** A dnsmasq with this configuration, at this port of 127.0.0.1. */
async function startDnsmasq(port: number, config: string): Promise<ChildProcess> {
  const server = spawn(program!, ['--keep-in-foreground', '--conf-file=-'], { stdio: ['pipe', 'ignore', 'inherit'] })
  server.stdin.end(`${config}\n`)
  await until(async () => Boolean(await opened({ ip: '127.0.0.1', port })), 'dnsmasq accepts connections')
  return server
}

/** A server that accepts connections and says nothing. */
async function silentServer(port: number): Promise<Server> {
  const server = createServer()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server
}
