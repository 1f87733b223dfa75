import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { unitName } from '../../../lib/dns/daemon.ts'
import { signature } from '../../../lib/platform/owner.ts'
import { fillTemplate, readTemplate } from '../../../lib/platform/render.ts'
import { hasProgram, programPath } from '../../../lib/system/machine.ts'
import { us } from '../../helpers/owner.ts'
import { ask } from '../../helpers/run.ts'

const missing = ((await hasProgram('systemd-analyze')) ? undefined : 'systemd-analyze is not installed') ?? false

describe('the unit of dnsmasq', { skip: missing }, () => {
  let folder: string
  let file: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-unit-'))
    file = join(folder, unitName)
    const program = (await programPath('dnsmasq')) ?? '/bin/true'
    const values = { owner: signature(us), domain: 'macula.local', program, config: '/etc/macula/dnsmasq.conf' }
    await writeFile(file, fillTemplate(await readTemplate(`systemd/${unitName}`), values))
  })
  after(() => rm(folder, { recursive: true }))

  it('is accepted by systemd without a word', async () => {
    const { exitCode, stdout, stderr } = await ask(['systemd-analyze', 'verify', '--man=no', file])
    assert.equal(exitCode, 0, stderr)
    assert.equal(stdout + stderr, '')
  })

  it('is locked in: systemd rates its exposure below 2.5 of 10', async context => {
    const { exitCode, stdout } = await ask(['systemd-analyze', 'security', '--offline=true', '--threshold=25', file])
    // before version 250 it can only rate units of a running system
    if (stdout === '') return context.skip('this systemd-analyze cannot rate a file')
    assert.equal(exitCode, 0, stdout.split('\n').slice(-3).join('\n'))
  })
})
