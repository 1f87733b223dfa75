import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { Resolver } from 'node:dns/promises'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { alpineTools } from '../helpers/alpine.ts'
import { values } from '../helpers/env-arbitraries.ts'
import { contentOf, exampleSecrets, renderExample } from '../helpers/example.ts'
import { countInputs } from '../helpers/fault-table.ts'
import { tries } from '../helpers/property.ts'
import { ask, run } from '../helpers/run.ts'
import { freePort, until } from '../helpers/sockets.ts'
import { debianValidator, postgresPrograms } from '../helpers/validators.ts'

const programs = await postgresPrograms()
const pdns = await debianValidator('pdns_server')
const skip =
  programs === undefined
    ? 'PostgreSQL is not installed'
    : process.getuid?.() !== 0
      ? 'start.sh becomes the user postgres, which only root can'
      : false
const files = await renderExample()
const tools = await alpineTools()

// What the image's own entry point does, as far as it matters here: it makes the data folder only where there is none.
const entrypoint = `#!/bin/sh
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  su postgres -s /bin/sh -c 'initdb --username "$POSTGRES_USER" --pwfile "$POSTGRES_PASSWORD_FILE" --auth-host scram-sha-256 --auth-local trust --no-sync' >/dev/null
fi
exec su postgres -s /bin/sh -c 'exec postgres -k "$PGDATA" -p "$PGPORT" -c listen_addresses=127.0.0.1 -c fsync=off'
`

let folder = ''
let port = 0
let server: ChildProcess | undefined

before(async () => {
  if (skip !== false) return
  folder = await mkdtemp(join(tmpdir(), 'macula-postgres-'))
  port = await freePort()
  await chmod(folder, 0o755)
  await mkdir(join(folder, 'data'))
  await run(['chown', 'postgres', join(folder, 'data')])
  await writeFile(join(folder, 'docker-entrypoint.sh'), entrypoint, { mode: 0o755 })
  for (const script of ['start.sh', 'role.sh', 'metrics-role.sh'])
    await writeFile(join(folder, script), contentOf(files, `config/postgres/${script}`))
  await writeFile(join(folder, 'metrics-password'), exampleSecrets.POSTGRES_METRICS_PASSWORD)
  await start('pdns', 'the password before')
})

after(async () => {
  await stop('SIGINT')
  if (folder) await rm(folder, { recursive: true })
})

test('an empty data folder is left to the image', { skip }, async () => {
  assert.equal(await login('pdns', 'the password before'), true)
})

test("PowerDNS's tables are made in an empty database, and PowerDNS answers from them", {
  skip: skip || pdns.skip,
}, async t => {
  await sql('postgres', 'CREATE DATABASE pdns')
  await sql('pdns', contentOf(files, 'config/powerdns-db/init-schema.sql'))
  const [dns, api] = [await freePort(), await freePort()]
  const home = join(folder, 'pdns')
  await mkdir(join(home, 'pdns.d'), { recursive: true })
  await writeFile(
    join(home, 'pdns.conf'),
    contentOf(files, 'config/powerdns/pdns.conf')
      .replace(/^include-dir=.*/m, `include-dir=${home}/pdns.d`)
      .replace(/^gpgsql-host=.*/m, 'gpgsql-host=127.0.0.1')
      .replace(/^gpgsql-port=.*/m, `gpgsql-port=${port}`)
      .replace(/^local-address=.*/m, 'local-address=127.0.0.1')
      .replace(/^local-port=.*/m, `local-port=${dns}`)
      .replace(/^webserver-address=.*/m, 'webserver-address=127.0.0.1')
      .replace(/^webserver-port=.*/m, `webserver-port=${api}`)
      // the containers' network, and in it the machine
      .replace('172.23.0.0/16', '127.0.0.0/24')
      .replace('172.23.0.1', '127.0.0.31'),
  )
  const secrets = contentOf(files, 'secrets/powerdns_conf')
  await writeFile(join(home, 'pdns.d', 'secrets.conf'), secrets)
  await restart('SIGINT', 'pdns', exampleSecrets.PDNS_DB_PASSWORD)

  const modules = (pdns.env.LD_LIBRARY_PATH ?? '').split(':').map(libraries => join(libraries, 'pdns'))
  const options = [`--config-dir=${home}`, ...(pdns.env.LD_LIBRARY_PATH ? [`--module-dir=${modules[0]}`] : [])]
  await run([pdns.program, ...options, '--config=check'], { env: pdns.env })
  const daemon = spawn(
    pdns.program,
    [...options, `--socket-dir=${home}`, '--daemon=no', '--guardian=no', '--disable-syslog'],
    { stdio: 'ignore', env: { ...process.env, ...pdns.env } },
  )
  t.after(() => daemon.kill('SIGKILL'))
  const server = `http://127.0.0.1:${api}/api/v1/servers/localhost`
  await until(async () => (await fetch(`http://127.0.0.1:${api}/metrics`)).status === 200, 'PowerDNS answers')
  assert.equal((await fetch(server)).status, 401)
  const made = await fetch(`${server}/zones`, {
    method: 'POST',
    headers: { 'X-API-Key': exampleSecrets.PDNS_API_KEY },
    body: JSON.stringify({
      name: 'shop.test.',
      kind: 'Native',
      nameservers: ['ns1.shop.test.'],
      soa_edit_api: 'DEFAULT',
    }),
  })
  assert.equal(made.status, 201, await made.text())
  const statusFrom = (localAddress: string) =>
    new Promise(resolve => {
      const request = get(server, { host: '127.0.0.1', port: api, localAddress }, response => {
        response.resume()
        resolve(response.statusCode)
      })
      request.on('error', () => resolve('closed'))
    })
  assert.equal(await statusFrom('127.0.0.2'), 401, 'a container')
  assert.equal(await statusFrom('127.0.0.31'), 'closed', 'this machine, past nginx')
  const resolver = new Resolver({ timeout: 1000, tries: 2 })
  resolver.setServers([`127.0.0.1:${dns}`])
  assert.deepEqual(await resolver.resolveNs('shop.test'), ['ns1.shop.test'])
})

test('a changed password arrives at the next start, whatever its characters', { skip }, async () => {
  await restart('SIGINT', 'pdns', exampleSecrets.POSTGRES_PASSWORD)
  assert.equal(await login('pdns', exampleSecrets.POSTGRES_PASSWORD), true)
  assert.equal(await login('pdns', 'the password before'), false)
})

test('any password arrives, and psql logs in with it', { skip, timeout: 240_000 }, async () => {
  const counts = { tried: 0, refused: 0, exact: 0, crashed: 0 }
  const password = values.filter(value => value !== '')
  const arrives = fc.asyncProperty(password, async value => {
    counts.tried += 1
    await restart('SIGINT', 'pdns', value)
    assert.equal(await login('pdns', value), true)
    assert.equal(await login('pdns', `${value}x`), false)
    counts.exact += 1
  })
  try {
    await fc.assert(arrives, { ...tries(4), endOnFailure: true })
  } finally {
    countInputs('password of PostgreSQL', counts)
    await restart('SIGINT', 'pdns', exampleSecrets.POSTGRES_PASSWORD)
  }
})

test('it arrives after the server was killed, too', { skip }, async () => {
  await restart('SIGKILL', 'pdns', 'after the crash')
  assert.equal(await login('pdns', 'after the crash'), true)
})

test('a user that is new is made', { skip }, async () => {
  await restart('SIGINT', "o'Neil", 'a password')
  assert.equal(await login("o'Neil", 'a password'), true)
  assert.equal(await login('pdns', 'after the crash'), true)
})

test('the role of the metrics is made while a database is made, and again makes no difference', { skip }, async () => {
  const password = exampleSecrets.POSTGRES_METRICS_PASSWORD
  await sql('postgres', 'DROP ROLE IF EXISTS macula_metrics')
  const script = contentOf(files, 'config/postgres/init-metrics.sh').replace('/usr/local/lib/macula', folder)
  for (let time = 1; time <= 2; time += 1) {
    await run(['bash', '-e', '-c', script], {
      env: {
        PATH: `${programs}:${process.env.PATH}`,
        PGHOST: join(folder, 'data'),
        PGPORT: String(port),
        POSTGRES_USER: 'pdns',
        POSTGRES_DB: 'postgres',
        POSTGRES_METRICS_PASSWORD_FILE: join(folder, 'metrics-password'),
      },
    })
    assert.equal(await login('macula_metrics', password), true)
  }
})

test('the role of the metrics may read statistics, and no table', { skip }, async () => {
  const rights = `SELECT r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolreplication, r.rolbypassrls, granted.rolname
    FROM pg_roles r JOIN pg_auth_members ON member = r.oid JOIN pg_roles granted ON granted.oid = roleid
    WHERE r.rolname = 'macula_metrics'`
  assert.equal(await sql('postgres', rights), 'f|f|f|f|f|pg_monitor')
  await sql('postgres', 'CREATE TABLE IF NOT EXISTS private (x int)')
  const asked = async (query: string) =>
    (
      await ask(
        [
          `${programs}/psql`,
          '-h',
          '127.0.0.1',
          '-p',
          String(port),
          '-U',
          'macula_metrics',
          '-d',
          'postgres',
          '-Atc',
          query,
        ],
        {
          env: { PGPASSWORD: exampleSecrets.POSTGRES_METRICS_PASSWORD },
        },
      )
    ).exitCode
  assert.equal(await asked('SELECT * FROM pg_stat_activity'), 0)
  assert.equal(await asked('SELECT * FROM private'), 1)
  assert.equal(await asked('CREATE TABLE public.own (x int)'), 1)
})

test('init.sql of TimescaleDB makes the schema that new tables go to, and may run twice', { skip }, async () => {
  // the extension is the image's own
  const script = contentOf(files, 'config/timescaledb/init.sql').replace(/^CREATE EXTENSION.*$/m, '')
  await sql('postgres', 'CREATE DATABASE "macula-dev"')
  await sql('macula-dev', script)
  await sql('macula-dev', script)
  await sql('macula-dev', 'CREATE TABLE readings (at timestamptz)')
  assert.equal(await sql('macula-dev', "SELECT schemaname FROM pg_tables WHERE tablename = 'readings'"), 'macula')
})

async function start(user: string, password: string): Promise<void> {
  await writeFile(join(folder, 'password'), password)
  server = spawn('sh', [join(folder, 'start.sh'), 'postgres'], {
    stdio: 'ignore',
    env: {
      ...process.env,
      PATH: `${folder}:${programs}:${tools}${process.env.PATH}`,
      PGDATA: join(folder, 'data'),
      PGPORT: String(port),
      POSTGRES_USER: user,
      POSTGRES_PASSWORD_FILE: join(folder, 'password'),
      POSTGRES_METRICS_PASSWORD_FILE: join(folder, 'metrics-password'),
    },
  })
  await until(ready, 'PostgreSQL answers')
}

async function stop(signal: NodeJS.Signals): Promise<void> {
  if (server?.pid === undefined || server.exitCode !== null) return
  const ended = new Promise(resolve => server?.once('exit', resolve))
  const [pid] = (await readFile(join(folder, 'data', 'postmaster.pid'), 'utf8')).split('\n')
  process.kill(Number(pid), signal)
  await ended
}

async function restart(signal: NodeJS.Signals, user: string, password: string): Promise<void> {
  await stop(signal)
  await start(user, password)
}

async function ready(): Promise<boolean> {
  return (await ask([`${programs}/pg_isready`, '-q', '-h', '127.0.0.1', '-p', String(port)])).exitCode === 0
}

async function login(user: string, password: string): Promise<boolean> {
  const answer = await ask(
    [`${programs}/psql`, '-h', '127.0.0.1', '-p', String(port), '-U', user, '-d', 'postgres', '-Atc', 'SELECT 1'],
    {
      env: { PGPASSWORD: password },
    },
  )
  return answer.exitCode === 0
}

/** Runs SQL over the server's socket, which asks for no password. */
async function sql(database: string, script: string): Promise<string> {
  const { stdout } = await run(
    [
      `${programs}/psql`,
      '-v',
      'ON_ERROR_STOP=1',
      '-qAt',
      '-h',
      join(folder, 'data'),
      '-p',
      String(port),
      '-U',
      'pdns',
      '-d',
      database,
    ],
    { input: script },
  )
  return stdout.trim()
}
