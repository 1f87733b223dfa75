import pg from 'pg'
import type { Settings } from '../platform/settings.ts'
import { messageOf, PlatformError } from '../system/errors.ts'
import type { CheckGroup, Tools } from './check.ts'

/** A row goes into a hypertable of TimescaleDB and comes back, in a transaction that is rolled back: where this ends half way, the server does that. */
export const database: CheckGroup = ({ platform, unique }) => {
  const service = platform.services.find(({ name }) => name === 'timescaledb')
  const name = service?.names[0]
  const port = service?.ports[0]?.listen
  if (service === undefined || name === undefined || port === undefined) return []
  return [
    {
      name: 'a row in a hypertable, written and read',
      service: service.name,
      needs: [name],
      realOnly: true,
      run: tools => roundTrip(name, port, platform.settings, unique, tools),
    },
  ]
}

async function roundTrip(
  name: string,
  port: number,
  settings: Settings,
  unique: string,
  tools: Tools,
): Promise<string> {
  const client = new pg.Client({
    host: await tools.addressOf(name),
    port,
    user: settings.POSTGRES_USER,
    password: settings.POSTGRES_PASSWORD,
    database: settings.POSTGRES_DB,
    application_name: 'macula verify',
    // the user's own PG… variables are about other servers
    ssl: false,
    options: '',
  })
  // without a listener, a connection that is cut ends the whole program
  client.on('error', () => {})
  const cut = () => (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
  tools.signal.addEventListener('abort', cut, { once: true })
  try {
    await client.connect()
    return await writeAndRead(client, unique)
  } catch (error) {
    const why = messageOf(tools.signal.aborted ? tools.signal.reason : error)
    throw new PlatformError(`${settings.POSTGRES_USER}@${name}:${port}/${settings.POSTGRES_DB}: ${why}`)
  } finally {
    tools.signal.removeEventListener('abort', cut)
    await client.end().catch(() => {})
  }
}

async function writeAndRead(client: pg.Client, unique: string): Promise<string> {
  const table = client.escapeIdentifier(`verify_${unique.replaceAll('-', '_')}`)
  const found = await client.query(`SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'`)
  if (found.rows.length === 0) throw new PlatformError('the extension timescaledb is not there')
  await client.query('BEGIN')
  await client.query(`CREATE TABLE ${table} (time timestamptz NOT NULL, value text)`)
  await client.query(`SELECT create_hypertable($1::text::regclass, 'time')`, [table])
  await client.query(`INSERT INTO ${table} VALUES (now(), $1)`, [unique])
  const { rows } = await client.query(`SELECT value FROM ${table}`)
  if (rows.length !== 1 || rows[0].value !== unique)
    throw new PlatformError(`read ${JSON.stringify(rows)} in place of the row that was written`)
  await client.query('ROLLBACK')
  return `TimescaleDB ${found.rows[0].extversion}, written and read back`
}
