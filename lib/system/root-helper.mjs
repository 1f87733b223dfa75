// Runs commands as root for a task of an ordinary user. root-shell.ts starts it once, through sudo or doas with one password, and sends it one JSON
// document a line over a pipe that nobody else has. Plain JavaScript: root's Node runs it as it is. Its end is the end of that pipe.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

/** How long a command that was told to end has for it, before SIGKILL. */
const graceMs = 2000
const running = new Map()

// Ctrl-C reaches the whole foreground group; what it means for the commands is decided by the task that they belong to
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT']) process.on(signal, () => {})
// the task may be gone while a package manager finishes
process.stdout.on('error', () => {})

send({ ready: true })
const requests = createInterface({ input: process.stdin })
requests.on('line', line => handle(JSON.parse(line)))
requests.on('close', endAll)

function handle({ id, start, input, inputEnd, signal }) {
  if (start !== undefined) begin(id, start)
  const { child } = running.get(id) ?? {}
  if (input !== undefined) child?.stdin?.write(Buffer.from(input, 'base64'))
  if (inputEnd) child?.stdin?.end()
  if (signal !== undefined && child !== undefined) signalGroup(child, signal)
}

function begin(id, { shell, command, cwd, env, hasInput, finishes }) {
  const child = spawn(shell, ['-c', command], {
    cwd: cwd || undefined,
    env: { ...process.env, ...env },
    // a group of its own can be ended as a whole
    detached: true,
    stdio: [hasInput ? 'pipe' : 'ignore', 'pipe', 'pipe'],
  })
  running.set(id, { child, finishes })
  child.stdin?.on('error', () => {})
  for (const stream of ['stdout', 'stderr'])
    child[stream].on('data', data => send({ id, stream, data: data.toString('base64') }))
  child.on('error', ({ message, code }) => send({ id, error: { message, code } }))
  child.on('exit', (exitCode, signal) => send({ id, exit: { exitCode, signal } }))
  child.on('close', () => {
    running.delete(id)
    send({ id, closed: true })
  })
}

function endAll() {
  const ending = [...running.values()].filter(({ finishes }) => !finishes).map(({ child }) => child)
  for (const child of ending) signalGroup(child, 'SIGTERM')
  const timer = setTimeout(() => {
    for (const child of ending) {
      signalGroup(child, 'SIGKILL')
      // who left the group may hold them for ever
      child.stdout.destroy()
      child.stderr.destroy()
    }
  }, graceMs)
  if (ending.length === 0) clearTimeout(timer)
}

function signalGroup(child, signal) {
  try {
    process.kill(-child.pid, signal)
  } catch {
    // it has ended meanwhile
  }
}

function send(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`)
}
