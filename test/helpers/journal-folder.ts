import { chmod, mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'node:test'
import { type Journal, openJournal } from '../../lib/journal/journal.ts'
import { $ } from '../../lib/system/exec.ts'
import { stateOf } from '../../lib/system/files.ts'
import type { Privilege } from '../../lib/system/privilege.ts'

// everything happens in a folder of our own, so our own rights are enough
export const ourselves: Privilege = { $ }
export const owner = { uid: userInfo().uid, gid: userInfo().gid }

/** A folder for each test that stands for a machine, with an `etc` in it, and a journal of what is changed there. */
export function journalFolder() {
  const place = { folder: '', etc: '', stateDir: '' }
  beforeEach(async () => {
    place.folder = await mkdtemp(join(tmpdir(), 'macula-journal-'))
    place.etc = join(place.folder, 'etc')
    place.stateDir = join(place.folder, 'state')
    await mkdir(place.etc)
    await writeFile(resolvConf(), 'nameserver 192.0.2.1\n', { mode: 0o640 })
    await chmod(resolvConf(), 0o640)
    await symlink('../run/stub.conf', join(place.etc, 'link.conf'))
  })
  afterEach(() => rm(place.folder, { recursive: true }))

  const open = (privilege = ourselves, scope = 'test', dryRun = false): Journal =>
    openJournal({ stateDir: place.stateDir, privilege, scope, dryRun })
  const resolvConf = () => join(place.etc, 'resolv.conf')

  /** Every path below etc with all that undo has to put back. */
  async function machine(): Promise<Record<string, unknown>> {
    const paths = await readdir(place.etc, { recursive: true })
    return Object.fromEntries(
      await Promise.all(paths.sort().map(async path => [path, await stateOf(join(place.etc, path))])),
    )
  }

  async function changeEverything(journal: Journal): Promise<void> {
    await journal.writeFile(join(place.etc, 'macula', 'deep', 'dnsmasq.conf'), 'port=53\n', { owner })
    await journal.writeFile(resolvConf(), 'nameserver 127.0.0.1\n', { owner })
    await journal.writeFile(join(place.etc, 'link.conf'), 'no link any more\n', { owner })
    await journal.link(join(place.etc, 'new.conf'), 'resolv.conf')
    await journal.writeFile(resolvConf(), 'nameserver 127.0.0.2\n', { mode: 0o600, owner })
  }
  return { place, open, resolvConf, machine, changeEverything }
}
