import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { changeMachine, type Machine } from '../../../lib/cli/change.ts'
import type { Output } from '../../../lib/cli/output.ts'
import { byHand, signature } from '../../../lib/platform/owner.ts'
import { isRoot, needsIn } from '../../../lib/system/privilege.ts'

describe('a change of this machine', { skip: !isRoot() && 'needs root' }, () => {
  let folder: string
  let stateDir: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-change-'))
    stateDir = join(folder, 'state')
  })
  afterEach(() => rm(folder, { recursive: true }))

  async function change(
    steps: (machine: Machine) => Promise<void>,
    options: { dryRun?: boolean; adopt?: boolean; yes?: boolean } = {},
  ) {
    const said: string[] = []
    const out = {
      interactive: true,
      result: (text: string) => said.push(text),
      say: (text: string) => said.push(text),
      summary: (text: string) => said.push(text),
      confirm: async (question: string) => {
        said.push(question)
        return false
      },
      step: async (title: string, action: Parameters<Machine['step']>[1]) =>
        void said.push(`${title}: ${await action({ update() {}, line() {} })}`),
    } as unknown as Output
    const { dryRun = false, adopt = false, yes = false } = options
    const ran = await changeMachine(
      { task: 'test', out, paths: { stateDir }, dryRun, adopt, yes, reason: 'test' },
      steps,
    )
    return { ran, said }
  }
  const writing = (text: (machine: Machine) => string) => async (machine: Machine) =>
    machine.step('Write', () => machine.open('test').writeFile(join(folder, 'file'), text(machine)))
  const signed = writing(({ owner }) => `# Written by the Macula platform (${signature(owner)}).\n`)

  it('is listed and not made by --dry-run, which leaves no trace of itself', async () => {
    const { ran, said } = await change(signed, { dryRun: true })
    assert.deepEqual([ran, said], [false, [`create ${join(folder, 'file')}`, 'Nothing was changed (--dry-run).']])
    assert.deepEqual(await readdir(folder), [])
  })

  it('says in a preview what it would need root for, so that several changes prompt once', async () => {
    const commands = await needsIn(async () => {
      await change(signed, { dryRun: true })
      await change(async () => {}, { dryRun: true })
      await change(signed, { dryRun: true })
    })
    assert.deepEqual(
      commands.map(command => command.split('\n')[0]),
      [`install -D -m 0644 /dev/stdin ${join(folder, 'file')} <<'EOF'`],
    )
  })

  it('is made once, in the name of this installation', async () => {
    assert.deepEqual((await change(signed)).said, ['Write: created'])
    const { id } = JSON.parse(await readFile(join(stateDir, 'installation.json'), 'utf8'))
    assert.ok((await readFile(join(folder, 'file'), 'utf8')).includes(`(installation ${id} in ${stateDir})`))
    assert.deepEqual((await change(signed)).said, ['Write: unchanged'])
  })

  it('is left as a person made it from the listed commands, before and after there is an id', async () => {
    const own = `# Written by the Macula platform (${signature({ id: byHand, stateDir })}).\n`
    await writeFile(join(folder, 'file'), own)
    assert.deepEqual((await change(signed)).said, ['Write: unchanged'])
    await assert.rejects(readFile(join(stateDir, 'installation.json')))
    await change(async ({ open }) => void (await open('test').writeFile(join(folder, 'other'), 'text')))
    assert.deepEqual((await change(signed)).said, ['Write: unchanged'])
    assert.equal(await readFile(join(folder, 'file'), 'utf8'), own)
  })

  it('takes over what this checkout made before only after a prompt, or with --yes', async () => {
    const found = [{ what: '/etc/x', owner: { id: 'ba9876543210', stateDir }, state: 'adoptable' }] as const
    const adopting = async (machine: Machine) => {
      machine.requireOurs(found)
      await signed(machine)
    }
    await assert.rejects(change(adopting), /This checkout set up 1 file or process/)
    const asked = await change(adopting, { adopt: true })
    assert.deepEqual([asked.ran, asked.said], [false, ['  /etc/x', 'Take these over?']])
    assert.deepEqual(await readdir(folder), [])
    assert.deepEqual((await change(adopting, { adopt: true, yes: true })).said, ['Write: created'])
  })
})
