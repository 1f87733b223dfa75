import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { stringify } from 'yaml'
import { unpackPackages } from '../../lib/supply/debian.ts'
import { type LoadedPlatform, startLoadedPlatform } from '../helpers/loaded-platform.ts'
import { noSandbox } from '../helpers/sandbox.ts'

// The machine's clock is not ours to set, so the services' programs get another answer from their C library. Programs in Go ask the kernel themselves:
// Prometheus, the registry, the object store and the collector keep the real time here.
const jumping = ['timescaledb', 'powerdns-db', 'powerdns', 'nginx']
const there = '/usr/local/share/faketime'

describe('a clock that jumps while something writes', { skip: await noSandbox() }, () => {
  let loaded: LoadedPlatform
  let folder: string

  /** Moves the clock of the services by so many seconds from the real time, and returns by how many PostgreSQL is off then. */
  const jump = async (seconds: number): Promise<number> => {
    await writeFile(join(folder, 'faketime/now'), `${seconds < 0 ? '-' : '+'}${Math.abs(seconds)}\n`)
    await pause(2000)
    const { stdout, stderr } = await loaded.sandbox.exec(
      "docker exec macula-timescaledb psql -U postgres -d macula -Atc 'SELECT extract(epoch FROM now())'",
    )
    assert.notEqual(stdout.trim(), '', stderr)
    return Math.round(Number(stdout) - Date.now() / 1000)
  }

  const written = async () => Object.values(await loaded.acknowledged()).reduce((sum, count) => sum + count, 0)

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-clock-'))
    await mkdir(join(folder, 'faketime'))
    await writeFile(join(folder, 'faketime/now'), '+0\n')
    await unpackPackages([{ name: 'libfaketime', suite: 'sid' }], join(folder, 'package'), () => {})
    const files = await readdir(join(folder, 'package'), { recursive: true })
    const library = files.find(file => file.endsWith('/libfaketime.so.1'))
    assert.ok(library, files.join())
    const service = {
      environment: {
        LD_PRELOAD: `${there}.so`,
        FAKETIME_TIMESTAMP_FILE: `${there}/now`,
        FAKETIME_NO_CACHE: '1',
        FAKETIME_DISABLE_SHM: '1',
        FAKETIME_DONT_FAKE_MONOTONIC: '1',
      },
      volumes: [`${join(folder, 'package', library)}:${there}.so:ro`, `${join(folder, 'faketime')}:${there}:ro`],
    }
    const local = join(folder, 'docker-compose.local.yml')
    await writeFile(local, stringify({ services: Object.fromEntries(jumping.map(name => [name, service])) }))
    loaded = await startLoadedPlatform({ env: { MACULA_LOCAL_COMPOSE: local } })
  })
  after(async () => {
    await loaded?.sandbox.end()
    await rm(folder, { recursive: true })
  })

  for (const [what, seconds] of [
    ['a day ahead', 86_400],
    ['an hour back, behind what was written', -3600],
    ['back to the real time', 0],
  ] as const)
    it(`${what}: everything that was acknowledged is there, and verify is green`, async () => {
      const before = await written()
      assert.ok(Math.abs((await jump(seconds)) - seconds) < 5, 'the clock of PostgreSQL did not jump')
      const green = await loaded.green()
      assert.ok((await written()) > before, 'nothing was written with that clock')
      await loaded.nothingLost(`clock ${what}`, green)
    })
})
