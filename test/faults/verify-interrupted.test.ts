import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { root } from '../../lib/system/checkout.ts'
import { countFaults } from '../helpers/fault-table.ts'
import { inOwnNetwork, runInOwnNetwork, whyNoNetwork } from '../helpers/network.ts'
import { usePlainMachine } from '../helpers/plain-machine.ts'
import { ask, run } from '../helpers/run.ts'
import { until } from '../helpers/sockets.ts'
import { postgresPrograms } from '../helpers/validators.ts'

// The whole task, interrupted at each request of it that writes, before the server has done it and after. A real PostgreSQL; the other stores are
// HTTP servers that remember what they were given, in a network of their own.

const title = 'verify, interrupted while it writes'
const programs = await postgresPrograms()
if (inOwnNetwork) describe(title, interruptions)
else {
  const reason = whyNoNetwork() ?? (programs === undefined ? 'PostgreSQL is not installed' : false)
  it(title, { skip: reason }, () => runInOwnNetwork(import.meta.url, 300_000))
}

/** Requests that write, by what they make. */
const writes: Record<string, RegExp> = {
  zone: /^POST \/api\/v1\/servers\/localhost\/zones$/,
  bucket: /^PUT \/verify-[^/]+$/,
  object: /^PUT \/verify-[^/]+\/[^/]+$/,
  'log line': /^POST \/loki\/api\/v1\/push$/,
  blob: /^PUT \/v2\/macula\/verify\/blobs\/uploads\/1/,
  manifest: /^PUT \/v2\/macula\/verify\/manifests\//,
}

function interruptions() {
  const machine = usePlainMachine()
  const present = new Set<string>()
  /** Called for each request that writes: interrupts the task where it is time for it. */
  let interrupt: (what: string, when: 'before' | 'after') => Promise<void> = async () => {}
  let folder = ''
  const ends: (() => unknown)[] = []

  after(async () => {
    for (const end of ends) await end()
    if (folder) await rm(folder, { recursive: true })
  })

  async function startStores(): Promise<void> {
    for (const port of [80, 5001]) {
      const server = createServer((request, response) => void answer(request, response))
      await new Promise<void>(resolve => server.listen(port, '0.0.0.0', resolve))
      ends.push(() => server.close().closeAllConnections())
    }
    folder = await mkdtemp(join(tmpdir(), 'macula-verify-'))
    await chmod(folder, 0o755)
    await startPostgres()
  }

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const [path = '', query = ''] = (request.url ?? '').split('?')
    const words = `${request.method} ${path}`
    const what = Object.entries(writes).find(([, pattern]) => pattern.test(words))?.[0]
    if (what === undefined) return void respond(words, response)
    await interrupt(what, 'before')
    const { name } = what === 'zone' ? JSON.parse(Buffer.concat(chunks).toString()) : { name: '' }
    const digest = new URLSearchParams(query).get('digest')
    present.add(what === 'zone' ? `${path}/${name}` : what === 'log line' ? what : digest ? `blob ${digest}` : path)
    response.writeHead({ bucket: 200, object: 200, 'log line': 204 }[what] ?? 201).end()
    await interrupt(what, 'after')
  }

  /** What reads and removes; a name of nothing that is there answers 404. */
  function respond(words: string, response: ServerResponse): void {
    const [method = '', path = ''] = words.split(' ')
    if (path.endsWith('/blobs/uploads/'))
      return void response.writeHead(202, { location: '/v2/macula/verify/blobs/uploads/1' }).end()
    if (path === '/loki/api/v1/delete') return void response.writeHead(present.delete('log line') ? 204 : 404).end()
    if (method !== 'DELETE') return void response.writeHead(404).end()
    const [, kind, digest] = /\/(blobs|manifests)\/(sha256:\w+)$/.exec(path) ?? []
    // the manifest was put under its tag
    const manifest = [...present].find(each => kind === 'manifests' && each.includes('/manifests/'))
    const gone = present.delete(manifest ?? (digest ? `blob ${digest}` : path))
    response.writeHead(gone ? (digest ? 202 : 204) : 404).end()
  }

  async function startPostgres(): Promise<void> {
    const ids = (await run(['sh', '-c', 'id -u postgres; id -g postgres'])).stdout.trim().split('\n').map(Number)
    const [uid, gid] = ids as [number, number]
    await run(['install', '-d', '-o', 'postgres', join(folder, 'data')])
    const asPostgres = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups']
    await run([...asPostgres, `${programs}/initdb`, '--no-sync', '--auth=trust', '--pgdata', join(folder, 'data')])
    const server = spawn(
      `${programs}/postgres`,
      ['-D', join(folder, 'data'), '-k', folder, '-c', 'listen_addresses=0.0.0.0', '-c', 'allow_system_table_mods=on'],
      { uid, gid, stdio: 'ignore' },
    )
    await chmod(folder, 0o777)
    ends.push(async () => {
      server.kill('SIGQUIT')
      await once(server, 'exit')
    })
    await until(async () => (await ask(psql('postgres', 'SELECT 1'))).exitCode === 0, 'PostgreSQL')
    await run(psql('postgres', 'CREATE DATABASE macula'))
    // as TimescaleDB does it, with time to interrupt it
    await run(
      psql(
        'macula',
        `INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
           VALUES (99999, 'timescaledb', 10, 2200, true, '2.0');
         CREATE FUNCTION create_hypertable(regclass, text) RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(0.7)'`,
      ),
    )
  }
  const psql = (database: string, text: string) => [
    ...[`${programs}/psql`, '-X', '-h', '127.0.0.1', '-U', 'postgres', '-d', database],
    ...['-v', 'ON_ERROR_STOP=1', '-Atc', text],
  ]
  const answerOf = async (text: string) => (await run(psql('macula', text))).stdout.trim()

  /** A machine whose containers are well, whose names are in /etc/hosts, and on which the stores listen. */
  async function setUp(): Promise<void> {
    const bin = join(machine.folder, 'bin')
    await mkdir(bin, { recursive: true })
    const engine = join(machine.folder, 'engine.json')
    await writeFile(
      join(bin, 'docker'),
      `#!/bin/sh\nexec "${process.execPath}" "${join(root, 'test/helpers/fake-docker.mjs')}" "$@"\n`,
      { mode: 0o755 },
    )
    await writeFile(engine, JSON.stringify({ containers: [], networks: [], volumes: [] }))
    Object.assign(machine.environment, { PATH: `${bin}:${process.env.PATH}`, FAKE_DOCKER: engine })
    await machine.succeeds('start-infrastructure', '--yes')
    await machine.succeeds('setup-hosts', '--yes')
    await writeFile(engine, (await readFile(engine, 'utf8')).replaceAll('"placeholder"', '"real"'))
    await startStores()
  }

  /** Runs verify until it has ended; `watch` is given what interrupts it. */
  async function verify(watch: (interrupt: () => void) => Promise<boolean>): Promise<void> {
    const child = spawn(process.execPath, [join(root, 'lib/cli/launch.mjs'), 'verify', '--json'], {
      env: machine.environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (said += chunk))
    const exited = once(child, 'exit')
    const [interrupted, [exitCode]] = await Promise.all([watch(() => child.kill('SIGINT')), exited])
    assert.ok(interrupted, said)
    assert.equal(exitCode, 130, said)
    assert.doesNotMatch(said, /\n\s+at /)
  }

  it('leaves nothing of what it made', { timeout: 240_000 }, async () => {
    await setUp()
    for (const what of Object.keys(writes))
      for (const when of ['before', 'after'] as const) {
        await verify(
          send =>
            new Promise(resolve => {
              setTimeout(resolve, 8000, false).unref()
              interrupt = async (now, moment) => {
                if (now !== what || moment !== when) return
                send()
                resolve(true)
                // a slow server does it long after
                if (when === 'before') await pause(300)
              }
            }),
        )
        interrupt = async () => {}
        countFaults('things of an interrupted verify left in the stores', 1, present.size)
        assert.deepEqual([...present], [], `${when} the ${what} was made`)
      }

    const works = `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'macula verify'`
    await verify(async send => {
      await until(
        async () => (await answerOf(`${works} AND wait_event = 'PgSleep'`)) === '1',
        'the table that is made into a hypertable',
      )
      send()
      return true
    })
    await until(async () => (await answerOf(works)) === '0', 'the end of the connection')
    const tables = await answerOf(`SELECT count(*) FROM pg_tables WHERE tablename LIKE 'verify%'`)
    countFaults('things of an interrupted verify left in the stores', 1, Number(tables))
    assert.equal(tables, '0')
    assert.deepEqual([...present], [])
  })
}
