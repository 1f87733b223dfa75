import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { answerOf, HungEngine, whileAnswering } from '../../../lib/stack/engine.ts'
import { shellWith } from '../../../lib/system/exec.ts'

describe('an engine that does not answer in time', { concurrency: true }, () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-engine-'))
  })
  after(() => rm(folder, { recursive: true }))

  /** A docker that takes `seconds` for what looks at containers, and does `version` when it is asked for its version. */
  async function docker(name: string, seconds: number, version: string) {
    const path = join(folder, name)
    await mkdir(path)
    const script = `#!/bin/sh\ncase "$*" in version*) ${version};; ps*) sleep ${seconds}; echo one;; esac\n`
    await writeFile(join(path, 'docker'), script, { mode: 0o755 })
    return shellWith({ env: { PATH: `${path}:${process.env.PATH}` } })
  }

  const ask = async (...how: Parameters<typeof docker>) => answerOf(await docker(...how))`docker ps`

  it('is waited for where it is just busy with its containers', async () => {
    assert.equal((await ask('busy', 7, 'echo 29.10.0')).stdout, 'one\n')
  })

  it('is named within 15 s where it says nothing at all', async () => {
    const started = Date.now()
    await assert.rejects(ask('hung', 100, 'sleep 100'), HungEngine)
    assert.ok(Date.now() - started < 15_000)
  })

  it('ends the wait for what leaves all its work to it, within 15 s', async () => {
    const started = Date.now()
    const forever = new Promise(() => {})
    await assert.rejects(whileAnswering(forever, await docker('creating', 100, 'sleep 100')), HungEngine)
    assert.ok(Date.now() - started < 15_000)
  })

  it('is left alone by that wait where it answers', async () => {
    const shell = await docker('works', 0, 'echo 29.10.0')
    assert.equal((await whileAnswering(shell`sleep 6; echo created`, shell)).stdout, 'created\n')
  })
})
