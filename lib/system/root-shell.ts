import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { PassThrough, Writable } from 'node:stream'
import { root } from './checkout.ts'
import { type CommandOptions, lastLines } from './exec.ts'
import { onEnd } from './running.ts'
import { deadline } from './wait.ts'

type Spawn = NonNullable<CommandOptions['spawn']>

/** How long sudo may take to grant access or to say that it wants a password; it may have to look the user up in a directory service. */
const silentMs = 15_000
/** What the helper takes to end the commands that still run: 2 s before it kills them, and a little more. */
const endMs = 3500

/** What the helper says of a command. */
interface Message {
  ready?: boolean
  id?: number
  stream?: 'stdout' | 'stderr'
  data?: string
  error?: { message: string; code: string }
  exit?: { exitCode: number | null; signal: NodeJS.Signals | null }
  closed?: boolean
}

/** Why there is no helper: what the program that should have started it said. */
export interface Refused {
  refused: string
}

/**
 * Starts the helper that runs root's commands, by sudo or doas with these arguments, and gives the `spawn` that reaches it. With `prompt` the
 * program may prompt for a password at the terminal, and takes its time for that. The helper ends with this process.
 */
export async function startRootHelper(
  tool: string,
  args: readonly string[],
  prompt: boolean,
): Promise<Spawn | Refused> {
  const helper = spawn(tool, [...args, process.execPath, join(root, 'lib', 'system', 'root-helper.mjs')], {
    // in our own group: only who is in the foreground may read from the terminal
    stdio: ['pipe', 'pipe', prompt ? 'inherit' : 'pipe'],
  })
  let said = ''
  helper.stderr?.on('data', data => {
    said += data
  })
  helper.stdin?.on('error', () => {})
  const commands = new Map<number, RemoteCommand>()
  const limit = prompt ? undefined : deadline(silentMs)
  const isReady = new Promise<boolean>(resolve => {
    createInterface({ input: helper.stdout! }).on('line', line => {
      const message = JSON.parse(line) as Message
      if (message.ready) resolve(true)
      else commands.get(message.id ?? 0)?.take(message)
    })
    helper.once('error', ({ message }) => {
      said += message
      resolve(false)
    })
    helper.once('exit', () => resolve(false))
    limit?.signal.addEventListener('abort', () => resolve(false), { once: true })
  })
  const started = await isReady
  limit?.done()
  if (!started) {
    helper.kill()
    return { refused: lastLines(said) }
  }
  helper.once('exit', () => {
    for (const command of commands.values()) command.lose()
  })
  return connected(helper, commands)
}

function connected(helper: ChildProcess, commands: Map<number, RemoteCommand>): Spawn {
  const streams = [helper.stdin, helper.stdout, helper.stderr] as (import('node:net').Socket | null)[]
  // while nothing runs the helper must not keep this process
  const hold = () => {
    for (const handle of [helper, ...streams]) commands.size > 0 ? handle?.ref() : handle?.unref()
  }
  let count = 0
  onEnd(async () => {
    helper.stdin?.end()
    const exited = helper.exitCode === null && helper.signalCode === null ? once(helper, 'exit') : Promise.resolve()
    const limit = deadline(endMs)
    const late = new Promise<void>(resolve => limit.signal.addEventListener('abort', () => resolve(), { once: true }))
    await Promise.race([exited, late])
    limit.done()
  })
  hold()
  return ((command: string, _: readonly string[], options: SpawnOptions & { finishes?: boolean }) => {
    count += 1
    const id = count
    const remote = new RemoteCommand(message => helper.stdin?.write(`${JSON.stringify({ id, ...message })}\n`))
    commands.set(id, remote)
    hold()
    remote.once('close', () => {
      commands.delete(id)
      hold()
    })
    const { shell, cwd, env, stdio, finishes } = options
    const hasInput = Array.isArray(stdio) && stdio[0] === 'pipe'
    remote.begin({ shell, command, cwd: cwd || process.cwd(), env, hasInput, finishes })
    return remote
  }) as unknown as Spawn
}

/** A command of root's, as Node shows a process: what zx needs of it. */
class RemoteCommand extends EventEmitter {
  readonly stdout = new PassThrough()
  readonly stderr = new PassThrough()
  readonly stdin: Writable
  exitCode: number | null = null
  signalCode: NodeJS.Signals | null = null
  readonly #send: (message: object) => void
  #exit: Message['exit']

  constructor(send: (message: object) => void) {
    super()
    this.#send = send
    this.stdin = new Writable({
      write: (data: Buffer, _, done) => {
        send({ input: Buffer.from(data).toString('base64') })
        done()
      },
      final: done => {
        send({ inputEnd: true })
        done()
      },
    })
    let open = 2
    for (const stream of [this.stdout, this.stderr]) {
      stream.once('close', () => {
        open -= 1
        if (open === 0) this.emit('close', this.exitCode, this.signalCode)
      })
    }
  }

  begin(start: object): void {
    this.#send({ start })
  }

  /** Reaches the command's whole group. */
  kill(signal: NodeJS.Signals = 'SIGTERM'): boolean {
    this.#send({ signal })
    return true
  }

  take({ stream, data, error, exit, closed }: Message): void {
    if (stream !== undefined) this[stream].write(Buffer.from(data ?? '', 'base64'))
    if (error !== undefined) this.emit('error', Object.assign(new Error(error.message), { code: error.code }))
    if (exit !== undefined) this.#end(exit)
    if (closed || error !== undefined) for (const each of [this.stdout, this.stderr]) each.end()
  }

  /** The helper is gone, and the command with it. */
  lose(): void {
    if (this.#exit === undefined) this.#end({ exitCode: null, signal: 'SIGKILL' })
    for (const each of [this.stdout, this.stderr]) each.end()
  }

  #end(exit: NonNullable<Message['exit']>): void {
    this.#exit = exit
    this.exitCode = exit.exitCode
    this.signalCode = exit.signal
    this.emit('exit', exit.exitCode, exit.signal)
  }
}
