import assert from 'node:assert/strict'
import { setTimeout as pause } from 'node:timers/promises'
import type { CheckResult } from '../../lib/verify/check.ts'
import { countFaults } from './fault-table.ts'
import { startSandbox, type TestSandbox, type TestSandboxOptions } from './sandbox.ts'

const acknowledgedFile = '/run/macula/acknowledged.jsonl'
/** Rows, objects, blobs and zones (`store-writer.mjs`). */
const kindsWritten = 4

/** The platform in a sandbox, and a client that writes to its stores all the time and keeps what was acknowledged. */
export interface LoadedPlatform {
  sandbox: TestSandbox
  /** Seconds until `task verify` has nothing red, without any command in between. Throws after `withinSeconds`. */
  green(withinSeconds?: number): Promise<number>
  /** What is red in `task verify` now, as `name: detail`. */
  red(): Promise<string[]>
  /** How many writes of each kind were acknowledged so far. */
  acknowledged(): Promise<Record<string, number>>
  /** Asserts that all of them are there, and prints and counts the fault's row. */
  nothingLost(fault: string, seconds: number): Promise<void>
  stopWriting(): Promise<void>
}

export async function startLoadedPlatform(options?: TestSandboxOptions): Promise<LoadedPlatform> {
  const sandbox = await startSandbox(options)
  const red = async () => {
    const { stdout, stderr } = await sandbox.exec('node lib/cli/launch.mjs verify --json')
    const { checks } = JSON.parse(stdout || '{"checks":[]}') as { checks: CheckResult[] }
    if (checks.length === 0) return [stderr.trim() || 'verify said nothing']
    return checks.filter(({ ok }) => ok === false).map(({ name, detail }) => `${name}: ${detail}`)
  }
  const green = async (withinSeconds = 120) => {
    const began = performance.now()
    for (;;) {
      const problems = await red()
      const seconds = (performance.now() - began) / 1000
      if (problems.length === 0) return seconds
      if (seconds > withinSeconds) throw new Error(`not green after ${withinSeconds} s\n${problems.join('\n')}`)
      await pause(500)
    }
  }
  const acknowledged = async () => {
    const { stdout } = await sandbox.exec(`jq -r .kind ${acknowledgedFile} | sort | uniq -c`)
    const lines = [...stdout.matchAll(/(\d+) (\w+)/g)]
    return Object.fromEntries(lines.map(([, count, kind]) => [kind ?? '', Number(count)]))
  }
  const loaded: LoadedPlatform = {
    sandbox,
    green,
    red,
    acknowledged,
    async nothingLost(fault, seconds) {
      const { stdout, stderr } = await sandbox.exec(`node test/helpers/store-writer.mjs check < ${acknowledgedFile}`)
      const kinds = Object.values(JSON.parse(stdout || '{}') as Record<string, { acknowledged: number; lost: number }>)
      assert.equal(kinds.length, kindsWritten, stderr)
      const lost = kinds.reduce((sum, kind) => sum + kind.lost, 0)
      const written = kinds.reduce((sum, kind) => sum + kind.acknowledged, 0)
      countFaults('acknowledged writes lost to a fault', written, lost)
      process.stderr.write(`${fault}: green after ${seconds.toFixed(1)} s, ${written} writes, ${lost} lost\n`)
      assert.equal(lost, 0, stdout)
      for (const kind of kinds) assert.ok(kind.acknowledged > 0, stdout)
    },
    stopWriting: async () =>
      void (await sandbox.exec('kill -- -$(cat /run/macula/writer.pid) $(cat /run/macula/writer.pid)')),
  }
  try {
    await green()
    const write = `setsid node test/helpers/store-writer.mjs write </dev/null >${acknowledgedFile} 2>/run/macula/writer.log`
    await sandbox.exec(`${write} & echo $! > /run/macula/writer.pid`)
    const began = performance.now()
    while (Object.keys(await acknowledged()).length < kindsWritten) {
      assert.ok(performance.now() - began < 60_000, (await sandbox.exec('cat /run/macula/writer.log')).stdout)
      await pause(500)
    }
    return loaded
  } catch (error) {
    await sandbox.end()
    throw error
  }
}
