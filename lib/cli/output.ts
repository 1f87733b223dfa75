import type { Writable } from 'node:stream'
import { stripVTControlCharacters, styleText } from 'node:util'
import type createSpinner from 'ora'
import type { PlatformError } from '../system/errors.ts'
import type { Outcome, StepProgress } from '../system/progress.ts'
import { fitted, usualColumns, wrapped } from '../system/text.ts'

/** What a task prints: progress and messages on stderr, results on stdout. */
export interface Output {
  title(text: string): void
  /** Runs one visible step: shown while it runs, then with its outcome and elapsed time; an error marks it failed and is rethrown. */
  step(title: string, action: (progress: StepProgress) => Promise<Outcome | undefined>): Promise<void>
  /** A plain message on stderr. */
  say(text: string): void
  warn(text: string): void
  /** Something the user asked for, on stdout. */
  result(text: string): void
  /** One JSON document on stdout. */
  json(value: unknown): void
  error(error: PlatformError): void
  /** The last line: what to know now; 'nothing to do' where no step changed anything. */
  summary(text: string): void
  /** Whether someone can answer a prompt; prompt only then. */
  readonly interactive: boolean
  /** Prompts before something is destroyed; Enter means no. */
  confirm(question: string): Promise<boolean>
  /** Prompts for a secret without echo, and again while `check` reports a problem with the answer. */
  promptSecret(question: string, check: (answer: string) => Promise<string | undefined>): Promise<string>
  /** Lets a person choose one of several values. */
  choose(question: string, choices: readonly string[], preset: string): Promise<string>
  readonly color: boolean
  /** Keeps everything else off the terminal while something else uses it: a program that prompts. */
  alone<T>(action: () => Promise<T>): Promise<T>
  /** Whether a step has changed something. */
  hasChanged(): boolean
  /** Shows the running step as interrupted. Nothing is printed afterwards: errors of a task that is being ended mean nothing. */
  interrupted(): void
}

export interface OutputOptions {
  stdout: Writable & { isTTY?: boolean }
  stderr: Writable & { isTTY?: boolean }
  /** Whether standard input is a terminal too. */
  interactive: boolean
  color: boolean
  /** Puts the commands in a text, written as `task NAME -- ARGS`, into the form that the user used. */
  inUsedForm?: (text: string) => string
  /** A spinner moves only where a person watches; elsewhere the same text is printed as plain lines. */
  spinner: boolean
  /** Told what the running step does, by somebody who shows it elsewhere; then it is not said here. */
  onProgress?: (text: string) => void
  /** How the terminal is had alone, for prompts, where several speak on it. */
  alone?: Output['alone']
}

/** How often a long step prints its progress where no spinner shows it. */
export const reminderMs = 30_000

type Style = Parameters<typeof styleText>[0]

const unchanged: readonly string[] = ['unchanged', 'skipped']

export function createOutput(options: OutputOptions): Output {
  const { stdout, interactive, color, alone = action => action() } = options
  const printer = createPrinter(options)
  const { say, paint } = printer
  const steps = createSteps(printer, options)

  return {
    interactive,
    color,
    confirm: question => alone(async () => (await import('./prompt.ts')).confirm(question)),
    promptSecret: (question, check) => alone(async () => (await import('./prompt.ts')).promptSecret(question, check)),
    choose: (question, choices, preset) =>
      alone(async () => (await import('./prompt.ts')).choose(question, choices, preset)),
    alone,
    hasChanged: steps.hasChanged,
    title: text => say(paint('bold', text)),
    say,
    warn: text => say(broken(`${paint('yellow', '!')} ${text}`, options.stderr, '    ')),
    result: text => printer.write(stdout, text),
    json: value => void stdout.write(`${JSON.stringify(value, null, 2)}\n`),
    error(error) {
      say(`${paint('red', '✗')} ${error.message}`)
      for (const line of error.why?.split('\n') ?? []) say(`  ${line}`)
      if (error.hint) say(`  ${paint('cyan', '→')} ${error.hint.replaceAll('\n', '\n    ')}`)
      for (const command of error.commands) say(command)
    },
    summary(text) {
      say(steps.changedNothing() ? paint('dim', `Nothing to do. ${text}`) : text)
    },
    interrupted() {
      steps.endAll(paint('red', '✗'), 'interrupted')
      printer.silence()
    },
    step: steps.run,
  }
}

/** Writes lines: in colour or not, with commands in the form the user uses, until it is silenced. */
function createPrinter({ stderr, color, inUsedForm = text => text }: OutputOptions) {
  let isSilent = false
  const write = (stream: Writable, text: string) => {
    if (!isSilent) stream.write(`${inUsedForm(color ? text : stripVTControlCharacters(text))}\n`)
  }
  return {
    write,
    say: (text: string) => write(stderr, text),
    paint: (style: Style, text: string) => (color ? styleText(style, text, { validateStream: false }) : text),
    silence: () => {
      isSilent = true
    },
    isSilent: () => isSilent,
  }
}

/** How wide the lines of progress may be. */
function columnsOf(stderr: OutputOptions['stderr']): number {
  return terminalColumns(stderr) ?? usualColumns
}

function terminalColumns(stderr: OutputOptions['stderr']): number | undefined {
  return (stderr as Partial<NodeJS.WriteStream>).columns || undefined
}

/** Text that stays, broken between words at a terminal. In a file or a pipe its lines stay whole: they are searched, and commands copied from them. */
function broken(text: string, stderr: OutputOptions['stderr'], indent: string): string {
  return wrapped(text, terminalColumns(stderr) ?? Number.POSITIVE_INFINITY, indent)
}

/** Room for the time behind a line. */
const timeColumns = 10

/** Runs and shows steps, and counts which of them changed something. */
function createSteps(
  printer: ReturnType<typeof createPrinter>,
  { stderr, spinner: animated, onProgress }: OutputOptions,
) {
  const { say, paint } = printer
  const running = new Set<(mark: string, outcome: string) => void>()
  let finished = 0
  let changes = 0

  function show(title: string, ora: typeof createSpinner | undefined) {
    const started = performance.now()
    const elapsed = () => paint('dim', `${((performance.now() - started) / 1000).toFixed(1)} s`)
    // a line that wraps moves all below it; the spinner itself stands before the first
    const columns = columnsOf(stderr) - 3
    const head = fitted(title, Math.ceil(columns / 2))
    const spinner = ora?.({ text: head, stream: stderr as NodeJS.WriteStream, discardStdin: false }).start()
    let latest = ''
    const remind = () => latest && say(`    ${fitted(latest, columnsOf(stderr) - 4 - timeColumns)}  ${elapsed()}`)
    const reminder = spinner || onProgress ? undefined : setInterval(remind, reminderMs)
    reminder?.unref()
    onProgress?.(title)
    const end = (mark: string, outcome: string) => {
      spinner?.stop()
      clearInterval(reminder)
      running.delete(end)
      const text = [`${mark} ${title}`, outcome, elapsed()].filter(Boolean).join('  ')
      say(broken(text, stderr, '    '))
    }
    running.add(end)
    const progress: StepProgress = {
      update(text, rows = []) {
        latest = text
        onProgress?.(`${title}  ${text}`)
        if (!spinner) return
        const detail = fitted(text, columns - head.length - 2)
        const lines = rows.map(row => `    ${fitted(row, columns - 4)}`)
        spinner.text = [`${head}  ${paint('dim', detail)}`, ...lines].join('\n')
      },
      line(text) {
        spinner?.stop()
        say(broken(`    ${text}`, stderr, '      '))
        if (!printer.isSilent()) spinner?.start()
      },
    }
    return { progress, end }
  }

  return {
    changedNothing: () => finished > 0 && changes === 0,
    hasChanged: () => changes > 0,
    endAll(mark: string, outcome: string) {
      for (const end of running) end(mark, outcome)
    },
    async run(title: string, action: (progress: StepProgress) => Promise<Outcome | undefined>): Promise<void> {
      // only here: what has no steps, and what shows none, starts 20 ms earlier without it
      const { progress, end } = show(title, animated ? (await import('ora')).default : undefined)
      try {
        const outcome = (await action(progress)) ?? ''
        finished += 1
        if (outcome !== '' && !unchanged.includes(outcome)) changes += 1
        end(paint('green', '✓'), unchanged.includes(outcome) ? paint('dim', outcome) : outcome)
      } catch (error) {
        end(paint('red', '✗'), '')
        throw error
      }
    },
  }
}
