import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { root } from '../../../lib/system/checkout.ts'
import { isRoot } from '../../../lib/system/privilege.ts'

// acquireRoot runs in a process of another user, with programs of our own first on PATH
const script = `
  import { acquireRoot } from '${root}/lib/system/privilege.ts'
  const interactive = process.argv[1] === 'terminal'
  const need = { reason: 'test', commands: ['install -m 0644 a b', 'systemctl daemon-reload'], interactive, say: text => console.log('said: ' + text) }
  try {
    const several = await Promise.all(Array.from({ length: Number(process.argv[2]) }, () => acquireRoot(need)))
    const privilege = several[0]
    console.log((await privilege.$\`echo as root\`).stdout.trim())
  } catch (error) {
    console.log([error.message, error.why, error.hint].join('|'))
    for (const command of error.commands) console.log(command)
  }`

const impossible = !isRoot() && 'needs root, to become another user'
const unreadable =
  isRoot() &&
  spawnSync('setpriv', ['--reuid=65534', '--clear-groups', 'test', '-r', join(root, 'package.json')]).status !== 0
    ? `another user cannot read ${root}`
    : false

describe('root for another user', { skip: impossible || unreadable }, () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-privilege-'))
    await chmod(folder, 0o777)
  })
  after(() => rm(folder, { recursive: true }))

  async function withSudo(body: string | undefined, kind: 'terminal' | 'no terminal', atOnce = 1): Promise<string[]> {
    await rm(join(folder, 'sudo'), { force: true })
    await rm(join(folder, 'asked'), { force: true })
    const program = body === undefined ? 'sudo: not here' : body
    if (body !== undefined) await writeFile(join(folder, 'sudo'), `#!/bin/sh\n${program}\n`, { mode: 0o755 })
    const { stdout, stderr } = spawnSync(
      'setpriv',
      [
        ...['--reuid=65534', '--clear-groups', process.execPath, '--import', 'tsx', '--input-type=module'],
        ...['--eval', script, '--', kind, String(atOnce)],
      ],
      { cwd: root, encoding: 'utf8', env: { PATH: `${folder}:/usr/bin:/bin`, HOME: folder, FOLDER: folder } },
    )
    assert.equal(stderr.replaceAll(/^npm warn.*\n/gm, ''), '')
    return stdout.trim().split('\n')
  }
  const lenient = 'shift 2; exec "$@"' // sudo -n -- COMMAND
  const wantsPassword = `
    if [ "$1" = -n ]; then echo "a password is required" >&2; exit 1; fi
    echo asked >> "$FOLDER/asked"
    shift; exec "$@"`

  it('comes through sudo without a word where sudo asks for nothing', async () => {
    assert.deepEqual(await withSudo(lenient, 'no terminal'), ['as root'])
  })

  it('asks for the password once, and says before why', async () => {
    assert.deepEqual(await withSudo(wantsPassword, 'terminal'), ['said: sudo is needed to test', 'as root'])
    assert.equal(await readFile(join(folder, 'asked'), 'utf8'), 'asked\n')
  })

  it('asks for the password once where several need root at once', async () => {
    assert.deepEqual(await withSudo(wantsPassword, 'terminal', 3), ['said: sudo is needed to test', 'as root'])
    assert.equal(await readFile(join(folder, 'asked'), 'utf8'), 'asked\n')
  })

  it('ends in the list of commands where nobody can type a password', async () => {
    const lines = await withSudo(wantsPassword, 'no terminal')
    assert.match(lines[0] ?? '', /^Root is needed to test\|There is no terminal to prompt for a password/)
    assert.deepEqual(lines.slice(1), ['install -m 0644 a b', 'systemctl daemon-reload'])
    await assert.rejects(readFile(join(folder, 'asked')))
  })

  it('ends in the same list where sudo refuses', async () => {
    assert.match((await withSudo('exit 1', 'terminal')).join('\n'), /sudo did not let this user become root/)
  })
})
