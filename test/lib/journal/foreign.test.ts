import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { foreignFiles, requireOurs } from '../../../lib/journal/foreign.ts'
import { openJournal } from '../../../lib/journal/journal.ts'
import { byHand, ownerIn, signature, withOurId } from '../../../lib/platform/owner.ts'
import { asRoot, isRoot } from '../../../lib/system/privilege.ts'
import { us as someone, them } from '../../helpers/owner.ts'

describe('files at the names of ours', () => {
  let folder: string
  let us: typeof someone
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-foreign-'))
    us = { ...someone, stateDir: join(folder, 'checkout', '.macula') }
  })
  afterEach(() => rm(folder, { recursive: true }))

  const statesOf = async (text: string) => {
    const path = join(folder, 'macula.target')
    await writeFile(path, text)
    return (await foreignFiles([path], us, join(folder, 'checkout'))).map(({ state }) => state)
  }
  const by = (owner: typeof someone) => `# Written by the Macula platform (${signature(owner)}).\n[Unit]\n`

  it('are told by the installation that they name, and by the folder of this checkout', async () => {
    assert.deepEqual(await statesOf(by(them)), ['foreign'])
    assert.deepEqual(await statesOf(by({ ...them, stateDir: us.stateDir })), ['adoptable'])
    assert.deepEqual(await statesOf(by(us)), ['lost'])
    const ofEarlierRelease = '# Rendered by the Macula platform, removed by `task teardown`.\n'
    assert.deepEqual(await statesOf(ofEarlierRelease), ['foreign'])
    assert.deepEqual(await statesOf(`${ofEarlierRelease}Documentation=file://${folder}/checkout/README.md\n`), [
      'adoptable',
    ])
  })

  it('are ours where a person made them from the commands of a preview, whatever id we got later', async () => {
    assert.deepEqual(await statesOf(by({ ...us, id: byHand })), [])
    assert.deepEqual(await statesOf(by({ ...them, id: byHand })), ['foreign'])
    assert.equal(withOurId(us, by({ ...us, id: byHand })), by(us))
    assert.equal(withOurId(us, by({ ...them, id: byHand })), by({ ...them, id: byHand }))
  })

  it('are somebody’s own, and so the journal’s business, where the platform did not write them', async () => {
    assert.deepEqual(await statesOf('[Unit]\nDescription=mine\n'), [])
    assert.deepEqual(await foreignFiles([join(folder, 'nothing')], us, folder), [])
  })

  it('are ours where the journal has them, also those of an earlier release', {
    skip: !isRoot() && 'needs root',
  }, async () => {
    const path = join(folder, 'macula.target')
    const journal = openJournal({ stateDir: us.stateDir, privilege: asRoot, scope: 'routes/boot' })
    await journal.writeFile(path, '# Rendered by the Macula platform, removed by `task teardown`.\n')
    assert.deepEqual(await foreignFiles([path], us, folder), [])
    await journal.writeFile(path, by(us))
    assert.deepEqual(await foreignFiles([path], us, folder), [])
    await writeFile(path, by(them))
    assert.deepEqual(
      (await foreignFiles([path], us, folder)).map(({ state }) => state),
      ['foreign'],
    )
  })

  it('are refused with the folder of their installation and the ways out', () => {
    const foreign = { what: '/etc/systemd/system/macula.target', owner: them, state: 'foreign' } as const
    const own = {
      what: '/etc/macula/dnsmasq.conf',
      owner: { ...them, stateDir: us.stateDir },
      state: 'adoptable',
    } as const
    assert.throws(() => requireOurs([foreign], { adopt: true, task: 'setup-dnsmasq' }), {
      message:
        'Another installation of the platform, in /home/else/macula/.macula, has 1 file or process that this one needs',
      why: '/etc/systemd/system/macula.target: of installation ba9876543210 in /home/else/macula/.macula',
      hint: 'Remove theirs: task teardown, in the checkout whose state folder is /home/else/macula/.macula',
    })
    assert.throws(() => requireOurs([own], { adopt: false, task: 'setup-dnsmasq' }), {
      message: 'This checkout set up 1 file or process before it had its present id',
      hint: 'task setup-dnsmasq -- --adopt   # takes over what is yours, after a prompt',
    })
    requireOurs([own], { adopt: true, task: 'setup-dnsmasq' })
    requireOurs([{ ...own, state: 'lost' }], { adopt: false, task: 'setup-dnsmasq' })
  })

  it('name a folder of any name', () => {
    for (const stateDir of ['/home/a b/.macula', '/srv/x (old)/.macula', '/srv/50%/.macula']) {
      const owner = { ...them, stateDir }
      assert.deepEqual(ownerIn(by(owner)), owner)
      assert.deepEqual(
        ownerIn(`# Written by the Macula platform (${signature(owner)}) for wsl: \`task teardown\`\n`),
        owner,
      )
    }
  })
})
