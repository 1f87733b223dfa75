import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import type { PlatformError } from '../../../lib/system/errors.ts'
import { $, type CommandOptions, type Shell } from '../../../lib/system/exec.ts'
import { ensureFolder, replaceFile, setState, stateOf } from '../../../lib/system/files.ts'
import { asRoot } from '../../../lib/system/privilege.ts'
import { noMounts } from '../../helpers/requirements.ts'

const owner = { uid: userInfo().uid, gid: userInfo().gid }
const modeOf = async (path: string) => (await stat(path)).mode & 0o7777
const fileOf = (text: string, mode = 0o644) =>
  ({ kind: 'file', content: Buffer.from(text).toString('base64'), mode, ...owner }) as const

/** The pid of a process that has ended. */
async function endedPid(): Promise<number> {
  const child = spawn('true')
  await once(child, 'exit')
  return child.pid!
}

describe('files', () => {
  let folder: string
  let path: string
  const mask = process.umask()
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-files-'))
    path = join(folder, 'file')
  })
  afterEach(async () => {
    process.umask(mask)
    await rm(folder, { recursive: true })
  })

  for (const [name, write] of [
    ['replaceFile', (text: string, mode: number) => replaceFile(path, text, { mode })],
    ['setState', (text: string, mode: number) => setState(path, fileOf(text, mode), asRoot)],
  ] as const)
    describe(name, () => {
      for (const umask of [0o000, 0o027, 0o077])
        it(`gives exactly the mode that was asked for with umask ${umask.toString(8).padStart(3, '0')}`, async () => {
          process.umask(umask)
          for (const mode of [0o600, 0o644, 0o755]) {
            await write('text', mode)
            assert.equal(await modeOf(path), mode)
          }
        })

      it('replaces a link and leaves alone what it points to, files and folders', async () => {
        for (const target of ['other', 'folder']) {
          if (target === 'folder') await ensureFolder(join(folder, target))
          else await writeFile(join(folder, target), 'theirs')
          await rm(path, { force: true })
          await symlink(target, path)
          await write('ours', 0o600)
          assert.equal((await stateOf(path)).kind, 'file')
        }
        assert.equal(await readFile(join(folder, 'other'), 'utf8'), 'theirs')
        assert.deepEqual(await readdir(join(folder, 'folder')), [])
      })

      it('removes what a killed writer left, and leaves alone what a living one is writing and files of other names', async () => {
        const kept = [`.file.macula-${process.pid}-abcdef`, '.file.macula-notes', '.other.macula-1-abcdef', 'file.new']
        for (const each of [`.file.macula-${await endedPid()}-abcdef`, ...kept]) await writeFile(join(folder, each), '')
        await write('text', 0o644)
        assert.deepEqual((await readdir(folder)).sort(), [...kept, 'file'].sort())
      })

      it('leaves nothing behind where it cannot write', async () => {
        await ensureFolder(path)
        await writeFile(join(path, 'theirs'), '')
        await assert.rejects(write('text', 0o644), (error: PlatformError) => error.hint !== undefined)
        assert.deepEqual(await readdir(path), ['theirs'])
        assert.deepEqual((await readdir(folder)).sort(), ['file'])
      })
    })

  it('several writers of one file at once all succeed, and a reader sees one of their texts whole', async () => {
    const texts = ['a', 'b', 'c', 'd'].map(letter => letter.repeat(100_000))
    for (let round = 0; round < 20; round++) {
      await Promise.all(texts.map(text => replaceFile(path, text, { mode: 0o644 })))
      assert.ok(texts.includes(await readFile(path, 'utf8')))
    }
    assert.deepEqual(await readdir(folder), ['file'])
  })

  it('setState takes cut-off input for no content', async () => {
    await writeFile(path, 'whole')
    const cut = { ...asRoot, $: ((options: CommandOptions) => $({ ...options, input: 'wh' })) as Shell }
    await assert.rejects(setState(path, fileOf('whole text'), cut), /could not be written/)
    assert.equal(await readFile(path, 'utf8'), 'whole')
    assert.deepEqual(await readdir(folder), ['file'])
  })

  for (const umask of ['000', '027', '077'])
    it(`ensureFolder gives each missing folder its mode with umask ${umask}, and leaves those that exist`, async () => {
      process.umask(Number.parseInt(umask, 8))
      const before = await modeOf(folder)
      await ensureFolder(join(folder, 'one', 'two'), 0o711)
      assert.deepEqual([await modeOf(join(folder, 'one')), await modeOf(join(folder, 'one', 'two'))], [0o711, 0o711])
      assert.equal(await modeOf(folder), before)
    })

  it('says what to do about a full file system, and keeps the old file', { skip: noMounts() }, async () => {
    const script = `set -e
      mount -t tmpfs -o size=64k tmpfs "$1"; echo old >"$1/file"; shift; exec "$@"`
    const test = `import { replaceFile } from './lib/system/files.ts'
      const error = await replaceFile(process.argv[1], 'x'.repeat(200_000), { mode: 0o644 }).catch(caught => caught)
      console.log(JSON.stringify([error.message, error.why, error.hint, (await import('node:fs')).readFileSync(process.argv[1], 'utf8')]))`
    const node = [process.execPath, '--import', 'tsx', '--input-type=module', '--eval', test, path]
    const args = ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', folder, ...node]
    const { stdout, stderr } = spawnSync('unshare', args, { encoding: 'utf8' })
    const [message, why, hint, content] = JSON.parse(stdout || `[${JSON.stringify(stderr)}]`)
    assert.equal(message, `${path} cannot be written`)
    assert.match(why, /ENOSPC/)
    assert.equal(hint, `Make room on that file system: df -h ${folder}`)
    assert.equal(content, 'old\n')
  })
})
