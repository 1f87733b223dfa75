// Writes to the stores at their documented addresses until it is ended, and prints each write that was acknowledged as JSON: node store-writer.mjs write.
// `check` reads those lines from stdin and prints { kind: { acknowledged, lost } }. Settings come from MACULA_ENV_FILE.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'
import { AwsClient } from 'aws4fetch'
import { parse } from 'dotenv'
import pg from 'pg'

const settings = parse(readFileSync(process.env.MACULA_ENV_FILE ?? '.env'))
const limit = () => AbortSignal.timeout(3000)
const s3 = new AwsClient({
  accessKeyId: settings.MINIO_ROOT_USER ?? 'macula',
  secretAccessKey: settings.MINIO_ROOT_PASSWORD,
  service: 's3',
  region: 'us-east-1',
  retries: 0,
})
const bucket = 'http://s3.macula.local/recovery'
const blobs = 'http://localhost:5001/v2/recovery/blobs'
const zones = 'http://dns.macula.local/api/v1/servers/localhost/zones'
const headers = { 'x-api-key': settings.PDNS_API_KEY, 'content-type': 'application/json' }

async function query(sql, values) {
  const client = new pg.Client({
    host: 'postgres.macula.local',
    user: settings.POSTGRES_USER ?? 'postgres',
    password: settings.POSTGRES_PASSWORD,
    database: settings.POSTGRES_DB ?? 'macula',
    connectionTimeoutMillis: 3000,
    query_timeout: 3000,
  })
  client.on('error', () => {})
  try {
    await client.connect()
    return (await client.query(sql, values)).rows
  } finally {
    await client.end().catch(() => {})
  }
}

function digestOf(id) {
  return `sha256:${createHash('sha256').update(`blob ${id}`).digest('hex')}`
}

async function accepted(answer) {
  const response = await answer
  if (!response.ok) throw new Error(`${response.status}`)
  return response
}

const kinds = {
  row: {
    prepare: () => query('CREATE TABLE IF NOT EXISTS recovery (id integer PRIMARY KEY)'),
    write: id => query('INSERT INTO recovery VALUES ($1)', [id]),
    read: async () => (await query('SELECT id FROM recovery')).map(({ id }) => id),
  },
  object: {
    prepare: () => s3.fetch(bucket, { method: 'PUT', signal: limit() }),
    write: id => accepted(s3.fetch(`${bucket}/${id}`, { method: 'PUT', body: `object ${id}`, signal: limit() })),
    // one after the other: each has to be readable, not only listed
    async read(ids) {
      const found = []
      for (const id of ids) {
        const body = await s3.fetch(`${bucket}/${id}`, { signal: limit() }).then(answer => answer.text())
        if (body === `object ${id}`) found.push(id)
      }
      return found
    },
  },
  blob: {
    prepare: async () => {},
    async write(id) {
      const began = await accepted(fetch(`${blobs}/uploads/`, { method: 'POST', signal: limit() }))
      const upload = new URL(began.headers.get('location'), blobs)
      upload.searchParams.set('digest', digestOf(id))
      await accepted(fetch(upload, { method: 'PUT', body: `blob ${id}`, signal: limit() }))
    },
    async read(ids) {
      const found = []
      for (const id of ids) {
        const body = await fetch(`${blobs}/${digestOf(id)}`, { signal: limit() }).then(answer => answer.text())
        if (body === `blob ${id}`) found.push(id)
      }
      return found
    },
  },
  zone: {
    prepare: async () => {},
    write: id =>
      accepted(
        fetch(zones, {
          method: 'POST',
          headers,
          body: JSON.stringify({ name: `recovery-${id}.test.`, kind: 'Native', nameservers: [] }),
          signal: limit(),
        }),
      ),
    async read() {
      const all = await (await accepted(fetch(zones, { headers, signal: limit() }))).json()
      return all.flatMap(({ name }) => /^recovery-(\d+)\.test\.$/.exec(name)?.[1] ?? []).map(Number)
    },
  },
}

async function writeAll(kind) {
  await kinds[kind].prepare()
  for (let id = Date.now() % 1_000_000_000; ; id += 1) {
    // a write that fails is not acknowledged: it may be there or not
    const isDone = await kinds[kind].write(id).then(
      () => true,
      () => false,
    )
    if (isDone) process.stdout.write(`${JSON.stringify({ kind, id })}\n`)
    await pause(isDone ? 200 : 500)
  }
}

async function check() {
  const acknowledged = (await text(process.stdin))
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line))
  const result = {}
  for (const kind of Object.keys(kinds)) {
    const ids = acknowledged.filter(write => write.kind === kind).map(({ id }) => id)
    const found = new Set(await kinds[kind].read(ids))
    result[kind] = { acknowledged: ids.length, lost: ids.filter(id => !found.has(id)).length }
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
}

await (process.argv[2] === 'check' ? check() : Promise.all(Object.keys(kinds).map(writeAll)))
