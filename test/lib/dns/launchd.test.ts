import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { within, $ as zx } from 'zx/core'
import { runDaemon } from '../../../lib/dns/daemon.ts'
import { type Journal, openJournal } from '../../../lib/journal/journal.ts'
import { $, type Shell } from '../../../lib/system/exec.ts'
import type { Host } from '../../../lib/system/machine.ts'
import { asRoot } from '../../../lib/system/privilege.ts'
import { us } from '../../helpers/owner.ts'

const mac = { os: 'macos', init: 'launchd' } as unknown as Host

describe('dnsmasq as a job of launchd', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-launchd-'))
    // as launchctl is: `bootstrap` succeeds at once, whatever becomes of the job
    const script = `#!/bin/sh
case $1 in
  bootstrap) touch ${folder}/loaded ;;
  print) test -e ${folder}/loaded && printf 'system/%s = {\\n\\tstate = not running\\n\\tlast exit code = 2\\n}\\n' "$2" ;;
esac`
    await writeFile(join(folder, 'launchctl'), script)
    await chmod(join(folder, 'launchctl'), 0o755)
  })
  after(() => rm(folder, { recursive: true }))

  /** Runs the daemon with that launchctl; it answers after so many looks. */
  async function run(answersAfter: number) {
    await rm(join(folder, 'loaded'), { force: true })
    let looks = 0
    const journal = {
      isDryRun: false,
      writeFile: async () => 'created',
      afterUndo: async () => {},
      $: (...template: Parameters<Shell>) => $(...(template as Parameters<typeof $>)),
    } as unknown as Journal
    return runWith(async () => ++looks > answersAfter, journal)
  }

  const runWith = (isCurrent: () => Promise<boolean>, journal: Journal) =>
    within(() => {
      zx.env = { ...zx.env, PATH: `${folder}:${zx.env.PATH}` }
      return runDaemon(mac, '/opt/homebrew/sbin/dnsmasq', us, isCurrent, journal)
    })

  it('is waited for until it answers: launchctl only hands it over', async () => {
    assert.equal(await run(3), 'created')
    assert.equal(await readFile(join(folder, 'loaded'), 'utf8'), '')
  })

  it('is an error with the words of launchd where it ends at once', async () => {
    await assert.rejects(run(1_000_000), {
      message: 'dnsmasq does not work 5 s after launchd took its job',
      why: 'it does not answer with its configuration\nstate = not running\nlast exit code = 2',
      hint: /launchctl print system\/io\.macula\.dnsmasq/,
    })
  })

  it('is not waited for by a preview, which starts nothing', async () => {
    const stateDir = join(folder, 'state')
    const journal = openJournal({ stateDir, privilege: asRoot, scope: 'dns', dryRun: true })
    await rm(join(folder, 'loaded'), { force: true })
    assert.equal(await runWith(async () => false, journal), 'created')
    assert.ok(journal.planned.some(({ command }) => command.startsWith('launchctl bootstrap')))
  })
})
