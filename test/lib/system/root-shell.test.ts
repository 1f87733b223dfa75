import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { root } from '../../../lib/system/checkout.ts'
import { isRoot } from '../../../lib/system/privilege.ts'

// The real sudo and doas, for a user who exists in a private copy of /etc only.

/** Runs a command at a terminal of its own, and types a password whenever one is asked for. */
const terminal = `
import { spawn } from 'node:child_process'
const [command, password] = process.argv.slice(2)
const child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'])
let [text, asked] = ['', 0]
child.stdout.on('data', data => {
  text += data
  if ((text.match(/password(?: for jane)?: /g) ?? []).length > asked) {
    asked += 1
    child.stdin.write(password + '\\n')
  }
})
child.on('exit', code => console.log(JSON.stringify({ code, asked, text })))
`

/** What jane runs; prints one line a command. */
const program = (body: string) => `
import { PlatformError } from '${root}/lib/system/errors.ts'
import { acquireRoot } from '${root}/lib/system/privilege.ts'
import { endCommands } from '${root}/lib/system/running.ts'
const need = { reason: 'test', commands: ['true'], interactive: process.stdin.isTTY === true, say: text => console.log('said: ' + text) }
const show = ({ stdout }) => console.log(stdout.trim())
try {
  ${body}
} catch (error) {
  console.log([error.message, error.why].join('|'))
}
process.exit()
`

const tools = ['sudo', 'doas', 'script', 'useradd', 'setpriv'].filter(
  name => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0,
)
const cannot =
  (!isRoot() && 'needs root, to become another user') ||
  (tools.length > 0 && `needs ${tools.join(', ')}`) ||
  (spawnSync('setpriv', ['--reuid=65534', '--clear-groups', 'test', '-r', join(root, 'package.json')]).status !== 0 &&
    `another user cannot read ${root}`)

describe('root by the real sudo and doas', { skip: cannot }, () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'macula-root-'))
    await writeFile(join(folder, 'terminal.mjs'), terminal)
    spawnSync('chmod', ['755', folder])
  })
  after(() => rm(folder, { recursive: true }))

  interface Run {
    code: number
    asked: number
    text: string
    seconds: number
  }

  /** Runs jane's program in a machine whose sudo or doas is set up like this. */
  async function run(setup: string, body: string, password = 'secret'): Promise<Run> {
    await writeFile(join(folder, 'program.mts'), program(body))
    const inside = `set -e
      mount -t tmpfs none /mnt; mkdir /mnt/upper /mnt/work
      mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work none /etc
      mount -t tmpfs none /run
      rm -rf /etc/sudoers.d/* /etc/doas.conf
      useradd --no-create-home --home-dir /tmp jane; echo jane:secret | chpasswd
      ${setup}
      command="${process.execPath} --import ${root}/node_modules/tsx/dist/loader.mjs ${folder}/program.mts"
      exec setpriv --reuid=jane --regid=jane --init-groups env HOME=/tmp node ${folder}/terminal.mjs "$command" "$1"`
    const started = performance.now()
    const { stdout, stderr } = spawnSync('unshare', ['--mount', 'bash', '-c', inside, 'inside', password], {
      cwd: root,
      encoding: 'utf8',
      timeout: 60_000,
    })
    assert.match(stdout, /^\{/, stderr)
    return { ...JSON.parse(stdout), seconds: (performance.now() - started) / 1000 }
  }
  const onlySudo = `printf 'Defaults timestamp_timeout=0,use_pty\\njane ALL=(ALL) ALL\\n' > /etc/sudoers.d/jane`
  const onlyDoas = `echo 'permit jane as root' > /etc/doas.conf; chmod 600 /etc/doas.conf; mount --bind /dev/null $(command -v sudo)`

  const threeCommands = `
    const privilege = await acquireRoot(need)
    show(await privilege.$\`id -u\`)
    await new Promise(resume => setTimeout(resume, 300))
    show(await (await acquireRoot(need)).$({ env: { A: 'b c' }, input: 'given' })\`echo "$A $(cat)"\`)
    show(await privilege.$({ nothrow: true })\`exit 3\`.then(({ exitCode }) => ({ stdout: 'exit ' + exitCode })))`

  for (const [name, setup] of [
    ['sudo', onlySudo],
    ['doas', onlyDoas],
  ] as const)
    it(`prompts once for all commands of a run, also where ${name} remembers nothing`, async () => {
      const { asked, text } = await run(setup, threeCommands)
      assert.match(text, new RegExp(`said: ${name} is needed to test`))
      assert.match(text, /\b0\r\nb c given\r\nexit 3\r\n/, text)
      assert.equal(asked, 1, text)
    })

  it('prompts for nothing where none is needed', async () => {
    const { asked, text } = await run("echo 'jane ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/jane", threeCommands)
    assert.equal(asked, 0, text)
    assert.match(text, /^0\r\n/)
  })

  it('ends at a refused password, without another prompt by doas', async () => {
    const both = `${onlySudo}; echo 'permit jane as root' > /etc/doas.conf; chmod 600 /etc/doas.conf`
    const { asked, text } = await run(both, threeCommands, 'wrong')
    assert.match(text, /Root is needed to test\|sudo did not let this user become root/)
    assert.doesNotMatch(text, /doas/)
    assert.ok(asked <= 3, text)
  })

  it('ends what runs as root at its deadline, with its group, and when the task ends', async () => {
    const { text, seconds } = await run(
      onlySudo,
      `const privilege = await acquireRoot(need)
      await privilege.$({ timeout: '500ms' })\`trap '' TERM; (trap '' TERM; sleep 61.25) & wait\`.catch(({ message }) => console.log(message.slice(-24)))
      show(await privilege.$({ nothrow: true })\`pgrep -fx 'sleep 61.25' | wc -l\`)
      void privilege.$\`sleep 62.25\`.catch(({ message }) => console.log(message))
      await new Promise(resume => setTimeout(resume, 300))
      await endCommands()
      await new Promise(resume => setTimeout(resume, 100))
      const { execSync } = await import('node:child_process')
      console.log('left: ' + execSync("ps -eo args | grep -cE '^sleep 62.25|root-helper.mjs$' || true").toString().trim())`,
    )
    assert.match(text, /did not end within 0.5 s\r\n0\r\n/, text)
    assert.match(text, /was ended by SIGTERM/)
    assert.match(text, /left: 0/)
    assert.ok(seconds < 20, String(seconds))
  })

  it('ends what runs as root when the task is killed', async () => {
    const { text } = await run(
      onlySudo,
      `const privilege = await acquireRoot(need)
      void privilege.$\`sleep 63.25\`.catch(() => {})
      await new Promise(resume => setTimeout(resume, 300))
      const { spawn } = await import('node:child_process')
      // setsid, or the end of the terminal would end it
      const looks = "sleep 3; ps -eo args | grep -cE '^sleep 63.25|root-helper.mjs$' > /tmp/left-of-jane"
      spawn('sh', ['-c', looks], { detached: true, stdio: 'ignore' }).unref()
      process.kill(process.pid, 'SIGKILL')`,
    )
    assert.doesNotMatch(text, /error/i)
    await new Promise(resume => setTimeout(resume, 3500))
    assert.equal(spawnSync('cat', ['/tmp/left-of-jane'], { encoding: 'utf8' }).stdout.trim(), '0')
    await rm('/tmp/left-of-jane', { force: true })
  })
})
