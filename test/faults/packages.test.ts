import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { describe, it } from 'node:test'
import { typescriptArguments } from '../../lib/cli/bootstrap.mjs'
import type { Undone } from '../../lib/journal/journal.ts'
import { describeUndone } from '../../lib/journal/undo.ts'
import { root } from '../../lib/system/checkout.ts'
import { countFaults } from '../helpers/fault-table.ts'
import { noMounts } from '../helpers/requirements.ts'

interface Machine {
  accounts: Record<string, string>
  packages: string[]
}

interface Course {
  before: Machine
  installed: Machine
  planned: Undone[]
  undone: Undone[]
  after: Machine
  again: Undone[]
  end: Machine
}

const skip =
  noMounts() ||
  (spawnSync('sh', ['-c', 'command -v apt-get dpkg-deb useradd']).status !== 0 && 'needs a Debian with apt')

/** Installs made-daemon with the real apt on a copy of this machine, runs a script in somebody else's name, and undoes the installation. */
function course(theirs: string): Course {
  const copies = `set -e; work=$(mktemp -d); mount -t tmpfs tmpfs "$work"
    for name in etc usr var; do
      mkdir -p "$work/$name/upper" "$work/$name/work"
      mount -t overlay -o "lowerdir=/$name,upperdir=$work/$name/upper,workdir=$work/$name/work" overlay "/$name"
    done
    exec "$@"`
  const program = [process.execPath, ...typescriptArguments, 'test/helpers/package-scenarios.ts', theirs]
  const words = ['--mount', '--propagation', 'private', 'sh', '-c', copies, 'sh', ...program]
  const { stdout, stderr } = spawnSync('unshare', words, { encoding: 'utf8', cwd: root })
  assert.ok(stdout.startsWith('{'), stderr)
  return JSON.parse(stdout)
}

const told = (undone: readonly Undone[]) => Object.fromEntries(undone.map(each => [each.what, describeUndone(each)]))
const names = (file: string | undefined) => (file ?? '').split('\n').map(line => line.split(':')[0])
const isTheirs = (name: string) => name.startsWith('theirs')

function countForeign({ installed, after }: Course, present: readonly string[]): void {
  const gone = present.filter(name => !after.packages.some(line => line.startsWith(`${name} install ok`)))
  countFaults('packages of others removed', installed.packages.length + present.length, gone.length)
}

describe('packages that were installed for the platform', { skip }, () => {
  it('go with the users and groups that came with them, byte for byte', () => {
    const all = course('true')
    const { before, installed, undone, after } = all
    assert.ok(names(installed.accounts.passwd).includes('made-daemon'))
    assert.ok(names(installed.accounts.group).includes('made-daemon-log'))
    assert.deepEqual(told(undone), {
      'package made-daemon': 'removed',
      'package made-lib': 'removed',
      'users and groups': 'restored',
    })
    assert.deepEqual(all.planned, undone)
    assert.deepEqual(after, before)
    countForeign(all, [])
  })

  it('stay where another package that was installed since needs them, with what they need themselves, and it is said which', () => {
    const all = course('apt-get -q -y install theirs-needs-daemon')
    const { undone, planned, after, installed, again, end, before } = all
    assert.deepEqual(told(undone), {
      'package made-daemon': 'kept: needed by theirs-needs-daemon',
      'package made-lib': 'kept: needed by made-daemon, theirs-needs-daemon',
      'users and groups': 'kept: still installed: made-daemon, made-lib',
    })
    assert.deepEqual(told(planned), told(undone))
    assert.deepEqual(after.accounts, installed.accounts)
    countForeign(all, ['theirs-needs-daemon', 'made-daemon', 'made-lib'])
    assert.ok(after.packages.includes('theirs-needs-daemon install ok installed'))
    // when the other one is gone
    assert.deepEqual(told(again), {
      'package made-daemon': 'removed',
      'package made-lib': 'removed',
      'users and groups': 'restored',
    })
    assert.deepEqual(end, before)
  })

  it('stay alone where only one of them is needed since', () => {
    const all = course('apt-get -q -y install theirs-needs-lib')
    const { undone, after, end, before } = all
    assert.deepEqual(told(undone), {
      'package made-daemon': 'removed',
      'package made-lib': 'kept: needed by theirs-needs-lib',
      'users and groups': 'kept: still installed: made-lib',
    })
    countForeign(all, ['theirs-needs-lib', 'made-lib'])
    assert.ok(!after.packages.some(line => line.startsWith('made-daemon ')))
    assert.deepEqual(end, before)
  })

  it('leave the accounts of somebody else alone: just their own users and groups go', () => {
    const { undone, after, before } = course(
      'useradd theirs; groupadd theirs-too; usermod --append --groups theirs-too root',
    )
    assert.equal(told(undone)['users and groups'], 'our part removed')
    for (const file of ['passwd', 'shadow', 'group', 'gshadow']) {
      const theirs = names(after.accounts[file]).filter(name => !isTheirs(name ?? ''))
      assert.deepEqual(theirs, names(before.accounts[file]), file)
      assert.ok(names(after.accounts[file]).includes('theirs'), file)
    }
    assert.match(after.accounts.group ?? '', /^theirs-too:x:\d+:root$/m)
    assert.deepEqual(after.packages, before.packages)
  })

  it('leave a password that was changed since as it is', () => {
    const { undone, after } = course("usermod --password 'theirs!' nobody")
    assert.equal(told(undone)['users and groups'], 'our part removed')
    assert.match(after.accounts.shadow ?? '', /^nobody:theirs!:/m)
    assert.doesNotMatch(after.accounts.passwd ?? '', /made-daemon/)
    assert.doesNotMatch(after.accounts.group ?? '', /made-daemon/)
  })

  it('go with their users also where the installation was broken off before those were noted', () => {
    const { undone, after, before } = course('rm -r /var/lib/macula/accounts-*/after')
    assert.equal(told(undone)['users and groups'], 'restored')
    assert.deepEqual(after, before)
  })
})
