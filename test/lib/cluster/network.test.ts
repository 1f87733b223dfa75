import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { $, within } from 'zx/core'
import { rememberNetwork, rememberNetworkId, removeNetwork } from '../../../lib/cluster/network.ts'
import { requireKindProgram, requireKubectl } from '../../../lib/cluster/versions.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'macula-cluster-'))
})
afterEach(() => rm(folder, { recursive: true }))

/** Runs `action` with a program of that name first on PATH; `$LOG` names a file for what it is told. */
async function withProgram<T>(name: string, script: string, action: () => Promise<T>): Promise<T> {
  await writeFile(join(folder, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return within(async () => {
    $.env = { ...$.env, PATH: `${folder}:${$.env.PATH}`, LOG: join(folder, 'log') }
    return action()
  })
}

describe("kind's network", () => {
  const paths = () => ({ stateDir: join(folder, 'state') })
  const logged = () => readFile(join(folder, 'log'), 'utf8').catch(() => '')

  it('goes with our cluster where it came with it', async () => {
    await withProgram('docker', 'case "$2" in inspect) exit 1 ;; *) echo "$*" >>"$LOG" ;; esac', async () => {
      await rememberNetwork(paths())
      assert.equal(await removeNetwork(paths()), 'removed')
      assert.equal(await logged(), 'network rm kind\n')
      assert.equal(await removeNetwork(paths()), 'unchanged')
    })
  })

  it('of somebody else stays, where ours was removed since and they created one of that name', async () => {
    const engine = 'case "$2" in inspect) [ -e "$LOG.made" ] && echo 4711 ;; *) echo "$*" >>"$LOG" ;; esac'
    await withProgram('docker', engine, async () => {
      await rememberNetwork(paths())
      await writeFile(join(folder, 'log.made'), '')
      await rememberNetworkId(paths())
      assert.equal(await removeNetwork(paths()), 'removed')
      assert.equal(await logged(), 'network rm 4711\n')
    })
  })

  it('stays where it was there before, or where somebody uses it', async () => {
    await withProgram('docker', 'exit 0', async () => {
      await rememberNetwork(paths())
      assert.equal(await removeNetwork(paths()), 'unchanged')
    })
    await withProgram('docker', 'exit 1', async () => {
      await rememberNetwork(paths())
      assert.equal(await removeNetwork(paths()), 'unchanged')
    })
  })
})

describe('programs of the cluster', () => {
  it('are refused where they are too old, with how to get newer ones', async () => {
    await withProgram('kind', 'echo 0.31.0', async () => {
      assert.equal(await requireKindProgram('kindest/node:v1.35.8'), '0.31.0')
      await assert.rejects(
        requireKindProgram('kindest/node:v1.37.0'),
        (error: PlatformError) =>
          error.message === 'kind 0.31.0 is too old for kindest/node:v1.37.0' && /0\.33/.test(error.why ?? ''),
      )
    })
    await withProgram('kubectl', `echo '{"clientVersion":{"gitVersion":"v1.20.1"}}'`, async () => {
      await assert.rejects(requireKubectl(), (error: PlatformError) => error.message === 'kubectl 1.20.1 is too old')
    })
  })

  it('are missed by name', async () => {
    await within(async () => {
      $.env = { ...$.env, PATH: folder }
      await assert.rejects(
        requireKindProgram('kindest/node:v1.35.8'),
        (error: PlatformError) => /kind is not installed/.test(error.message) && /quick-start/.test(error.hint ?? ''),
      )
    })
  })
})
