import { Writable } from 'node:stream'
import { pathsOf } from '../platform/settings.ts'
import { cancelSignal } from '../system/cancel.ts'
import { ExitCode, messageOf, PlatformError } from '../system/errors.ts'
import { acquireRoot, isRoot, needsIn } from '../system/privilege.ts'
import { counted } from '../system/text.ts'
import { runGraph } from './graph.ts'
import { createOutput, type Output } from './output.ts'
import type { TaskContext } from './task.ts'
import type { GraphStep } from './taskfile.ts'
import { keepRun, readTimings, type TimedStep, usualOf } from './timings.ts'

/** A gigabyte of images over a slow line; every command and wait in a step has a shorter deadline of its own. */
const stepDeadlineMs = 60 * 60_000

export interface Together {
  /** The task whose steps these are. */
  task: string
  steps: readonly GraphStep[]
  context: TaskContext
  /** Scripts whose `--dry-run` says what they need root for: it is acquired once, before the first of them. */
  rootScripts: readonly string[]
  /** Completes 'sudo is needed to …'. */
  reason: string
  deadlineMs?: number
}

/**
 * Runs the steps of a graph in this process, as many at once as wait for nothing more, and keeps how long each took. Those that wait for a failed one
 * are not begun, all others are; then throws, naming what is done, what failed and what was not begun.
 */
export async function runTogether({
  task,
  steps,
  context,
  rootScripts,
  reason,
  deadlineMs = stepDeadlineMs,
}: Together): Promise<void> {
  const { environment, yes, verbose, runOther, onInterrupt } = context
  const paths = pathsOf(environment)
  const earlier = await readTimings(paths)
  const board = await context.createBoard()
  const signal = cancelSignal()
  const at = new Date().toISOString()
  const begun = performance.now()
  const seconds = () => Math.round(performance.now() - begun) / 1000
  const timed = new Map<string, TimedStep>()
  // how long steps took decides nothing: a disk that is full must not make a setup fail, nor hide why it failed
  const keep = () =>
    keepRun(paths, { task, at, steps: [...timed.values()] }).catch(error =>
      context.out.warn(`How long the steps took is not kept: ${messageOf(error)}`),
    )
  const words = [...(yes ? ['--yes'] : []), ...(verbose ? ['--verbose'] : [])]
  let exitCode: number = ExitCode.failed
  let root: Promise<unknown> | undefined

  onInterrupt(async () => {
    for (const step of timed.values()) if (step.state === 'interrupted') step.end = seconds()
    await keep()
  })

  const runScripts = async ({ scripts }: GraphStep, out: Output, cancellation: AbortController) => {
    for (const { script, words: own } of scripts) {
      if (rootScripts.includes(script) && !isRoot()) {
        root ??= acquireOnce(context, rootScripts, reason, out)
        await root
      }
      const code = await runOther(script, [...own, ...words], { out, cancellation })
      if (code !== ExitCode.done) return code
    }
    return ExitCode.done
  }

  const run = async (name: string): Promise<boolean> => {
    const step = steps.find(each => each.name === name)!
    const { out, end } = board.begin(name, usualOf(earlier, name))
    const record: TimedStep = {
      name,
      after: [...step.after],
      start: seconds(),
      end: seconds(),
      state: 'interrupted',
      changed: false,
    }
    timed.set(name, record)
    const cancellation = new AbortController()
    const abort = () => cancellation.abort(signal?.reason)
    signal?.addEventListener('abort', abort, { once: true })
    const late = deadline(name, deadlineMs, cancellation)
    try {
      const code = await Promise.race([runScripts(step, out, cancellation), late.passed])
      record.state = code === ExitCode.done ? 'done' : signal?.aborted ? 'interrupted' : 'failed'
      if (code !== ExitCode.done) exitCode = code
    } catch (error) {
      record.state = 'failed'
      out.error(
        error instanceof PlatformError
          ? error
          : new PlatformError(`${name} failed`, { why: String(error), cause: error }),
      )
    } finally {
      late.done()
      signal?.removeEventListener('abort', abort)
      record.end = seconds()
      record.changed = out.hasChanged()
      end()
    }
    return record.state === 'done'
  }

  const states = await runGraph(steps, run, { limit: verbose ? 1 : Number.POSITIVE_INFINITY, signal })
  board.close()
  if (!signal?.aborted) await keep()
  const named = (state: string) => [...states].filter(([, each]) => each === state).map(([name]) => name)
  const [failed, left] = [named('failed'), named('not begun')]
  if (failed.length === 0 && left.length === 0) return
  throw new PlatformError(`${counted(failed.length, 'step')} of ${steps.length} failed: ${failed.join(', ')}`, {
    why: [
      `done: ${named('done').join(', ') || 'none'}`,
      ...(left.length > 0 ? [`not begun: ${left.join(', ')}`] : []),
    ].join('\n'),
    hint: `task ${task}   # carries on where this one stopped, once the cause is gone`,
    exitCode,
  })
}

/** Ends the commands of a step when its time is over, and rejects then, also where nothing else would make the step end. */
function deadline(name: string, ms: number, cancellation: AbortController) {
  let done = () => {}
  const passed = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => {
      reject(new PlatformError(`${name} did not end within ${ms / 1000} s, and was ended`))
      cancellation.abort()
    }, ms)
    done = () => clearTimeout(timer)
  })
  return { passed, done }
}

/** Root for all that any of these scripts would do, with one prompt; nothing where none of them needs it. */
async function acquireOnce(
  { runOther }: TaskContext,
  scripts: readonly string[],
  reason: string,
  { interactive, say, alone }: Output,
): Promise<void> {
  const stream = new Writable({ write: (_chunk, _encoding, done) => done() })
  const silent = createOutput({ stdout: stream, stderr: stream, interactive: false, color: false, spinner: false })
  const commands = await needsIn(async () => {
    for (const script of scripts)
      await runOther(script, ['--dry-run'], { out: silent, cancellation: new AbortController() })
  })
  if (commands.length === 0) return
  await acquireRoot({ reason: `${reason} (${counted(commands.length, 'change')})`, commands, interactive, say, alone })
}
