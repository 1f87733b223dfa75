import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, it } from 'node:test'
import { waitForPackageManager } from '../../../lib/sandbox/packages.ts'
import type { PlatformError } from '../../../lib/system/errors.ts'
import { hasTool } from '../../../lib/system/exec.ts'

const skip = !((await hasTool('lslocks')) && (await hasTool('perl'))) && 'lslocks or perl is not installed'

describe("this machine's own package manager", { skip }, () => {
  const folder = mkdtemp(join(tmpdir(), 'macula-dpkg-'))
  after(async () => rm(await folder, { recursive: true }))

  /** Holds a file as dpkg does, with a record lock, until it is killed. */
  async function hold(file: string) {
    const script = `use Fcntl; open my $file, '>>', $ARGV[0] or die;
      my $lock = pack('s s x4 q q i x4', F_WRLCK, SEEK_SET, 0, 0, 0);
      fcntl($file, F_SETLK, $lock) or die "$!"; $| = 1; print "held"; sleep 60`
    const holder = spawn('perl', ['-MFcntl=:seek', '-e', script, file], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(holder.stdout, 'data')
    return holder
  }

  it('is waited for, by name, and the sandbox starts as soon as it has ended', async () => {
    const file = join(await folder, 'lock')
    const holder = await hold(file)
    const notes: string[] = []
    const waited = waitForPackageManager(note => void notes.push(note), { locks: [file] })
    while (notes.length === 0) await new Promise(resolve => setTimeout(resolve, 20))
    assert.equal(notes[0], `waiting for the package manager of this machine: perl (process ${holder.pid})`)
    holder.kill('SIGKILL')
    await waited
  })

  it('is named when it does not end', async () => {
    const file = join(await folder, 'other-lock')
    const holder = await hold(file)
    const late = waitForPackageManager(() => {}, { locks: [file], timeoutMs: 600 })
    await assert.rejects(late, (error: PlatformError) => {
      assert.match(error.message, /^The package manager of this machine has been at work for/)
      assert.match(error.why ?? '', /is held by perl \(process \d+\)/)
      return true
    })
    holder.kill('SIGKILL')
  })

  it('is not waited for where nobody holds its locks', async () => {
    await waitForPackageManager(() => assert.fail('waits'), { locks: [join(await folder, 'nobody')] })
  })
})
