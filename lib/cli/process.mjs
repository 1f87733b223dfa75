// What reaches this process from outside: its folder, its signals, its starter, and who reads its output. Plain JavaScript, like the launcher that needs it.
import { statOf } from '../system/proc.mjs'

const goOn = '  → run the same command again: it goes on where this one stopped\n'

/** Ends the process with a clear message where its working folder is gone: no path that was given could be found, and no program be started. */
export function requireFolder() {
  try {
    process.cwd()
  } catch {
    process.stderr.write(
      '✗ The working directory does not exist any more\n  → cd to a directory that does, then run this again\n',
    )
    process.exit(2)
  }
}

/**
 * @param {object} reactions
 * @param {(signal: NodeJS.Signals, exitCode: number, message: string) => void} reactions.interrupt ends the process
 * @param {(error: unknown) => Promise<number>} reactions.fail shows an error that nobody has caught, and gives the exit code
 */
export function watchProcess({ interrupt, fail }) {
  // A terminal sends Ctrl-C to its foreground group, SIGTERM and SIGHUP reach only us: our commands have groups of their own, and get it from us.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.once(signal, () => interrupt(signal, 130, `✗ Interrupted\n${goOn}`))
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', error => {
      // `task doctor | true`: nobody wants to know any more; the other stream may still be read
      if (error.code === 'EPIPE') return interrupt('SIGTERM', 141, `✗ Whoever read the output has closed it\n${goOn}`)
      void fail(error).then(code => process.exit(code))
    })
  }
  for (const event of ['uncaughtException', 'unhandledRejection'])
    process.once(event, error => void fail(error).then(code => process.exit(code)))
}

/** The go-task that has started us, for which several tasks are one workflow; undefined where it was something else. */
export function goTask() {
  return statOf(process.ppid)?.name === 'task' ? process.ppid : undefined
}

/** A signal that cannot be caught ends npm or go-task alone: then nobody waits for us any more, and we end as if one had reached us. */
export function endWithOurStarter() {
  const shell = process.ppid
  const viaNpm = process.env.npm_lifecycle_event !== undefined
  if (!viaNpm && goTask() === undefined) return
  // npm starts us through a shell of its own
  const npm = viaNpm ? statOf(shell)?.parent : undefined
  setInterval(() => {
    if (process.ppid !== shell || (viaNpm && statOf(shell)?.parent !== npm)) process.kill(process.pid, 'SIGTERM')
  }, 1000).unref()
}
