import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { array, asyncProperty, assert as check, constantFrom, oneof, property, string } from 'fast-check'
import { within, $ as zx } from 'zx/core'
import { cancelledBy } from '../../../lib/system/cancel.ts'
import { root } from '../../../lib/system/checkout.ts'
import { PlatformError } from '../../../lib/system/errors.ts'
import { $, commandLine, quote, shellWith } from '../../../lib/system/exec.ts'
import { identityOf } from '../../../lib/system/processes.ts'
import { endCommands } from '../../../lib/system/running.ts'
import { hideInMessages } from '../../../lib/system/secrets.ts'
import { tries } from '../../helpers/property.ts'

let folder: string
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'macula-exec-'))
})
after(() => rm(folder, { recursive: true }))

/** How long an action takes, in seconds. */
async function secondsOf(action: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await action()
  return (performance.now() - started) / 1000
}

async function errorOf(action: PromiseLike<unknown>): Promise<PlatformError> {
  const error = await Promise.resolve(action).then(
    () => assert.fail('should have failed'),
    error => error,
  )
  assert.ok(error instanceof PlatformError, String(error?.stack ?? error))
  return error
}

async function pidIn(file: string): Promise<number> {
  for (;;) {
    const text = await readFile(join(folder, file), 'utf8').catch(() => '')
    if (text.endsWith('\n')) return Number(text)
    await new Promise(resume => setTimeout(resume, 20))
  }
}

describe('a command', () => {
  it('gives its output as text, lines and JSON, and as lines while it runs', async () => {
    assert.equal(await $`printf 'a\nb\n'`.text(), 'a\nb\n')
    assert.deepEqual(await $`printf 'a\nb\n'`.lines(), ['a', 'b'])
    assert.deepEqual(await $`echo ${'{"a":[1]}'}`.json(), { a: [1] })
    const lines: string[] = []
    for await (const line of $`printf 'a\nb'`) lines.push(line)
    assert.deepEqual(lines, ['a', 'b'])
    const heard: string[] = []
    await $({ onLine: (line, stream) => heard.push(`${stream} ${line}`) })`echo one; echo two >&2; printf three`
    assert.deepEqual(heard.sort(), ['stderr two', 'stdout one', 'stdout three'])
  })

  it('fails with its command line, its exit code and its own last words, whatever is read of it', async () => {
    const failing = () => $`echo out; echo 'no such thing' >&2; exit 3`
    for (const read of [
      () => failing(),
      () => failing().text(),
      () => failing().lines(),
      () => failing().json(),
      async () => {
        for await (const _ of failing());
      },
    ]) {
      const error = await errorOf(read())
      assert.match(error.message, /exit 3` failed with exit code 3$/)
      assert.equal(error.why, 'no such thing')
    }
  })

  it('says so where it prints no JSON', async () => {
    const error = await errorOf($`echo 'Cannot connect'`.json())
    assert.match(error.message, /printed something that is not JSON$/)
    assert.match(error.why ?? '', /Cannot connect/)
  })

  it('returns any exit code where that is an answer, also the one of a signal', async () => {
    assert.equal((await $({ nothrow: true })`exit 3`).exitCode, 3)
    assert.equal((await $`exit 4`.nothrow()).exitCode, 4)
    assert.equal((await errorOf($`kill -9 $$`)).message, '`kill -9 $$` was ended by SIGKILL')
  })

  it('has no input but what it is given, and need not read that', async () => {
    assert.equal(await $({ timeout: '5s' })`cat`.text(), '')
    assert.equal(await $({ input: 'secret' })`cat`.text(), 'secret')
    await $({ input: 'x'.repeat(1_000_000) })`true`
  })

  it('runs in its folder with its environment', async () => {
    assert.equal(await $({ cwd: folder, env: { A: 'b c' } })`echo "$PWD $A"`.text(), `${folder} b c\n`)
    const error = await errorOf($({ cwd: join(folder, 'gone') })`true`)
    assert.match(`${error.message} ${error.why}`, /could not be started.*gone/s)
  })

  it('names a program that is not installed, and tells it from a program that is missing elsewhere', async () => {
    assert.equal((await errorOf($`no-such-program --help`)).message, 'no-such-program is not installed, or not on PATH')
    assert.equal(
      (await errorOf($({ nothrow: true })`no-such-program`)).message,
      'no-such-program is not installed, or not on PATH',
    )
    assert.equal((await errorOf($`A=b no-such-program`)).message, 'no-such-program is not installed, or not on PATH')
    const inside = await errorOf($`sh -c 'echo "exec: grafana: executable file not found in \$PATH" >&2; exit 127'`)
    assert.match(inside.message, /failed with exit code 127/)
    assert.match(inside.why ?? '', /grafana/)
  })

  it('refuses a value that is missing', async () => {
    const file = (): string | undefined => undefined
    assert.throws(() => $`rm -r ${file()}`, /A value is missing/)
  })

  it('starts from what its shell was made with', async () => {
    const shell = shellWith({ env: { A: 'preset' }, nothrow: true })
    assert.deepEqual(
      [(await shell`echo $A; exit 2`).stdout, (await shell({ cwd: '/' })`pwd`).stdout],
      ['preset\n', '/\n'],
    )
  })
})

describe('the end of a command', () => {
  it('comes at its deadline', async () => {
    const seconds = await secondsOf(async () => {
      const error = await errorOf($({ timeout: '300ms' })`echo waiting >&2; sleep 20`)
      assert.match(error.message, /sleep 20` did not end within 0.3 s$/)
      assert.equal(error.why, 'waiting')
    })
    assert.ok(seconds < 1.5, String(seconds))
  })

  it('is no answer, also where any exit code is one', async () => {
    assert.match((await errorOf($({ timeout: '200ms', nothrow: true })`sleep 20`)).message, /did not end within/)
  })

  it('takes its whole group along, also what ignores SIGTERM', async () => {
    const command = $({ timeout: '500ms', cwd: folder })`
      trap '' TERM
      (trap '' TERM; while :; do sleep 1; done) &
      echo $! > child; wait`
    const seconds = await secondsOf(() => errorOf(command))
    assert.ok(seconds < 4, String(seconds))
    assert.equal(await identityOf(await pidIn('child')), undefined)
  })

  it('does not wait for a process that left the group and holds its pipes', async () => {
    for (const script of [
      'setsid sh -c "echo \\$\\$ > outside; exec sleep 30"',
      'setsid sleep 30 & echo $! > outside',
    ]) {
      await rm(join(folder, 'outside'), { force: true })
      const command = $({ timeout: '600ms', cwd: folder })`sh -c ${script}`
      const seconds = await secondsOf(() => errorOf(command))
      assert.ok(seconds < 4.5, String(seconds))
      const pid = await pidIn('outside')
      if (await identityOf(pid)) process.kill(pid, 'SIGKILL')
    }
  })

  it('comes when there was no progress for as long as there may be none, and not before', async () => {
    await $({ idle: '600ms' })`for i in 1 2 3 4 5; do echo $i; sleep 0.2; done`
    const error = await errorOf($({ idle: '300ms' })`echo once; sleep 20`)
    assert.match(error.message, /sleep 20` made no progress for 0.3 s$/)
  })

  it('takes what is read of an input stream, and a measure that moves, for progress', async () => {
    const slowly = Readable.from(
      (async function* () {
        for (let part = 0; part < 10; part += 1) {
          await pause(200)
          yield 'x'
        }
      })(),
    )
    assert.equal((await $({ idle: '1100ms', input: slowly })`wc -c`).stdout.trim(), '10')
    let measured = 0
    await $({ idle: '2500ms', measure: async () => (measured += 1) })`sleep 4`
    const error = await errorOf($({ idle: '1500ms', measure: async () => 7 })`sleep 20`)
    assert.match(error.message, /made no progress for 1.5 s$/)
  })

  it('comes where a command stops reading what it is sent, and nothing reads on afterwards', async () => {
    const endless = Readable.from(
      (function* () {
        for (;;) yield Buffer.alloc(65_536)
      })(),
    )
    const error = await errorOf($({ idle: '1500ms', input: endless })`head -c 100000 >/dev/null; sleep 20`)
    assert.match(error.message, /made no progress for 1.5 s$/)
    assert.ok(endless.destroyed)
  })

  it('follows a limit that depends on what the command is doing', async () => {
    let isCompiling = false
    const options = {
      onLine: (line: string) => {
        isCompiling = line === 'compiling'
      },
      idle: () => (isCompiling ? '2s' : '300ms') as '2s' | '300ms',
    }
    await $(options)`echo compiling; sleep 0.8; echo compiled`
    assert.match((await errorOf($(options)`echo loading; sleep 20`)).message, /no progress for 0.3 s$/)
  })

  it('comes with its signal; what is started afterwards does not start at all', async () => {
    const controller = new AbortController()
    const running = $({ signal: controller.signal })`sleep 20`
    setTimeout(() => controller.abort(), 100)
    const seconds = await secondsOf(async () =>
      assert.equal((await errorOf(running)).message, '`sleep 20` was cancelled'),
    )
    assert.ok(seconds < 1, String(seconds))
    await errorOf($({ signal: controller.signal, cwd: folder })`touch started`)
    await assert.rejects(readFile(join(folder, 'started')))
  })

  it('comes for every command of a task that is cancelled, and for no other', async () => {
    const controller = new AbortController()
    const outside = $`sleep 0.6; echo done`
    const seconds = await secondsOf(async () => {
      await cancelledBy(controller.signal, async () => {
        setTimeout(() => controller.abort(), 100)
        const commands = [$`sleep 20`, $`sleep 21`]
        await Promise.all(commands.map(errorOf))
        await errorOf($`touch ${join(folder, 'late')}`)
      })
    })
    assert.ok(seconds < 1, String(seconds))
    await assert.rejects(readFile(join(folder, 'late')))
    assert.equal(await outside.text(), 'done\n')
  })

  it('comes for all that run when the program ends, except for what has to finish', async () => {
    const sleeping = $`sleep 20`
    const finishing = $({ finishes: true })`sleep 0.5; echo finished`
    await endCommands()
    assert.match((await errorOf(sleeping)).message, /was ended by SIGTERM/)
    assert.equal(await finishing.text(), 'finished\n')
  })
})

describe('the environment of a run', () => {
  /** Runs a script that uses `$`, in a process of its own. */
  function runWith(env: Record<string, string>, script: string): string {
    const code = `import { $ } from '${root}/lib/system/exec.ts'\n${script}`
    const { stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '--eval', code], {
      cwd: root,
      env: { PATH: process.env.PATH ?? '', ...env },
      encoding: 'utf8',
    })
    return stdout + stderr
  }
  const hello = `console.log((await $\`printf '%s\\n' \${"it's"}\`).stdout.trim())`

  it('does not change how commands are run, whatever ZX_* says', () => {
    const ZX = {
      ZX_PREFIX: 'exit 7;',
      ZX_POSTFIX: '; exit 8',
      ZX_SHELL: '/bin/false',
      ZX_QUIET: 'true',
      ZX_NOTHROW: 'true',
      ZX_TIMEOUT: '1ms',
      ZX_PREFER_LOCAL: 'true',
      ZX_DETACHED: 'false',
      ZX_CWD: '/nowhere',
    }
    assert.equal(runWith(ZX, hello), "it's\n")
    assert.match(runWith(ZX, `await $\`exit 3\`.catch(error => console.log(error.message))`), /exit code 3/)
  })

  it('may have neither bash nor ps', async () => {
    for (const tool of ['sh', 'sleep', 'printf']) {
      const path = spawnSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).stdout.trim()
      if (path.startsWith('/')) await symlink(path, join(folder, tool))
    }
    assert.equal(runWith({ PATH: folder }, hello), "it's\n")
    const late = `await $({ timeout: '300ms' })\`sleep 20\`.catch(error => console.log(error.message))`
    assert.equal(runWith({ PATH: folder }, late), '`sleep 20` did not end within 0.3 s\n')
  })
})

describe('quoting', () => {
  const special = [...' \'"`$\\!*?[]{}()<>|&;#~=%^@:,.+-/\t\n\r\x01\x7f', '$(id)', "'\\''", '\\n', '--', '-n', 'ä', '𝔘']
  // no shell reads a NUL
  const word = oneof(
    array(constantFrom(...special), { maxLength: 8 }).map(parts => parts.join('')),
    string({ unit: 'binary', maxLength: 20 }).map(text => text.replaceAll('\0', '')),
  )
  const shells = ['/bin/sh', 'dash', 'bash', 'busybox'].filter(
    name => spawnSync(name, ['-c', 'true']).error === undefined,
  )

  it('reads back as the same words in every shell of this machine', () => {
    for (const shell of shells) {
      check(
        property(array(word, { minLength: 1, maxLength: 100 }), words => {
          const script = `printf '%s\\0' ${commandLine(words)}`
          const args = shell === 'busybox' ? ['sh', '-c', script] : ['-c', script]
          const { stdout } = spawnSync(shell, args, { encoding: 'utf8' })
          assert.deepEqual(stdout.split('\0').slice(0, -1), words, shell)
        }),
        tries(40),
      )
    }
  })

  it('is done for values and arrays of a template', async () => {
    await check(
      asyncProperty(word, async word => assert.equal(await $`printf %s ${word}`.text(), word)),
      tries(30),
    )
    const args = ['a b', '', "it's", '$HOME', '*']
    assert.equal(await $`printf '<%s>' ${args}`.text(), "<a b><><it's><$HOME><*>")
    assert.equal(await $`printf '<%s>' ${[]}`.text(), '<>')
  })

  it('leaves plain words as people write them', () => {
    assert.equal(quote('--file=/etc/a-b_c.d'), '--file=/etc/a-b_c.d')
    assert.equal(quote(''), "''")
  })
})

describe('a secret', () => {
  it('is shown neither in an error nor in a verbose log', async () => {
    hideInMessages(['hunter2-hunter2'])
    const error = await errorOf($`echo ${'hunter2-hunter2 is wrong'} >&2; exit 1`)
    assert.doesNotMatch(`${error.message}${error.why}`, /hunter2/)
    assert.match(error.why ?? '', /^\*\*\* is wrong/)
    const broken = await errorOf($`echo ${'hunter2-hunter2'}`.json())
    assert.doesNotMatch(`${broken.message}${broken.why}`, /hunter2/)
    const late = await errorOf($({ timeout: '200ms' })`sleep 20 # ${'hunter2-hunter2'}`)
    assert.doesNotMatch(late.message, /hunter2/)

    const shown: string[] = []
    await within(async () => {
      zx.verbose = true
      zx.log = entry => {
        shown.push(`${'cmd' in entry ? entry.cmd : ''}${'data' in entry ? entry.data : ''}`)
      }
      await $`echo ${'hunter2-hunter2'}`
      await $`printf hunter2; sleep 0.2; echo -hunter2`
    })
    assert.doesNotMatch(shown.join(''), /hunter2-hunter2/)
  })
})
