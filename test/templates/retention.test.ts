import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { PlatformError } from '../../lib/system/errors.ts'
import { NotYet, waitFor } from '../../lib/system/wait.ts'
import { contentOf, renderExample } from '../helpers/example.ts'
import { run } from '../helpers/run.ts'
import { freePort } from '../helpers/sockets.ts'
import { debianValidator } from '../helpers/validators.ts'

const prometheus = await debianValidator('prometheus')
const promtool = await debianValidator('promtool')
const day = 24 * 3600

/** The flags that bound Prometheus' data, as they are rendered. */
async function retentionFlags(days: string): Promise<string[]> {
  const compose = contentOf(
    await renderExample({ settings: { METRICS_DAYS: days, METRICS_GB: '1' } }),
    'docker-compose.services.yml',
  )
  const { services } = parse(compose) as { services: { prometheus: { command: string[] } } }
  return services.prometheus.command.filter(flag => flag.startsWith('--storage.tsdb.retention'))
}

/** Days that are left of a sample a day for ten days, once Prometheus has run with these flags. */
async function daysLeft(flags: readonly string[], left: (blocks: number) => boolean): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'macula-retention-'))
  const data = join(folder, 'data')
  const now = Math.floor(Date.now() / 1000)
  const samples = Array.from({ length: 10 }, (_, index) => `old{} 1 ${now - (10 - index) * day}`)
  await writeFile(join(folder, 'samples.txt'), ['# TYPE old gauge', ...samples, '# EOF', ''].join('\n'))
  await writeFile(join(folder, 'prometheus.yml'), 'global: {}\n')
  await run([promtool.program, 'tsdb', 'create-blocks-from', 'openmetrics', join(folder, 'samples.txt'), data])
  const blocks = async () => (await readdir(data)).filter(name => /^[0-9A-Z]{26}$/.test(name)).length
  assert.equal(await blocks(), 10)
  const program = spawn(
    prometheus.program,
    [
      `--config.file=${join(folder, 'prometheus.yml')}`,
      `--storage.tsdb.path=${data}`,
      `--web.listen-address=127.0.0.1:${await freePort()}`,
      ...flags,
    ],
    { stdio: 'ignore' },
  )
  try {
    return await waitFor(
      async () => {
        const number = await blocks()
        return left(number) ? number : new NotYet(`${number} blocks`)
      },
      { timeoutMs: 20_000, onTimeout: seen => new PlatformError(`${seen}`) },
    )
  } finally {
    program.kill('SIGTERM')
    if (program.exitCode === null) await once(program, 'exit')
    await rm(folder, { recursive: true, force: true })
  }
}

test('Prometheus removes what is older than METRICS_DAYS', { skip: prometheus.skip || promtool.skip }, async () => {
  // three days before the newest block, and a block goes once all of it is older
  const left = await daysLeft(await retentionFlags('3'), blocks => blocks <= 4)
  assert.ok(left >= 3, `${left} days`)
})

test('Prometheus removes the oldest where its data takes more than the bytes it may', {
  skip: prometheus.skip || promtool.skip,
}, async () => {
  const flags = (await retentionFlags('30')).map(flag => flag.replace('size=1GB', 'size=2KB'))
  assert.ok(flags.includes('--storage.tsdb.retention.size=2KB'), 'a gigabyte would take too long to write')
  const left = await daysLeft(flags, blocks => blocks < 10)
  assert.ok(left > 0, `${left} days`)
})
