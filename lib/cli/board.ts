import { Writable } from 'node:stream'
import { stripVTControlCharacters, styleText } from 'node:util'
import ora from 'ora'
import { inOrder } from '../system/in-order.ts'
import { fitted, usualColumns } from '../system/text.ts'
import { createOutput, type Output, type OutputOptions, reminderMs } from './output.ts'

/** Shows several steps at once: at a terminal a line for each that runs, and each step's own text as one block when it has ended. */
export interface Board {
  /** A step begins; `usual` are the seconds that it usually takes at most. */
  begin(name: string, usual?: number): BoardStep
  /** All have ended: nothing moves any more. */
  close(): void
  /** Prints what the running steps have said so far, each as interrupted, and nothing afterwards. */
  interrupted(): void
}

export interface BoardStep {
  /** What the step prints. */
  out: Output
  /** It has ended: its block is printed. */
  end(): void
}

interface Shown {
  name: string
  started: number
  usual: number | undefined
  isLate: boolean
  reminders: number
  doing: string
  block: Block
  out: Output
}

/** What one step has said, in pieces. */
type Block = { stream: 'stdout' | 'stderr'; text: string }[]

/** `streams`: what steps say is printed as they say it, for steps that run one at a time. */
export function createBoard(options: OutputOptions, { streams = false }: { streams?: boolean } = {}): Board {
  const running = new Map<string, Shown>()
  const spinner = options.spinner
    ? ora({ stream: options.stderr as NodeJS.WriteStream, discardStdin: false, text: ' ' })
    : undefined
  /** How many have the terminal for themselves. */
  let alone = 0
  let isSilent = false
  const waiting: Block[] = []
  const dim = (text: string) => (options.color ? styleText('dim', text, { validateStream: false }) : text)
  const secondsOf = ({ started }: Shown) => (performance.now() - started) / 1000

  const show = () => {
    if (spinner === undefined || alone > 0 || isSilent) return
    if (running.size === 0) return void spinner.stop()
    const width = Math.max(...[...running.keys()].map(name => name.length))
    const rows = [...running.values()].map(step => {
      const late = step.isLate ? `  usually ${step.usual?.toFixed(0)} s` : ''
      const time = `${secondsOf(step).toFixed(0).padStart(4)} s`
      // a line that wraps moves all below it
      const room =
        Math.max(20, (options.stderr as NodeJS.WriteStream).columns || 80) - width - time.length - late.length - 8
      const doing = stripVTControlCharacters(step.doing).slice(0, room)
      return `${step.name.padEnd(width)} ${time}${late}  ${dim(doing)}`
    })
    spinner.text = rows.join('\n  ')
    if (!spinner.isSpinning) spinner.start()
  }

  /** Whole blocks, in the order in which their steps ended; none while somebody types. */
  const print = () => {
    if (alone > 0 || isSilent) return
    spinner?.stop()
    for (const block of waiting.splice(0)) write(block)
    show()
  }

  const write = (block: Block) => {
    for (const { stream, text } of block.splice(0)) options[stream].write(text)
  }

  const say = (name: string, text: string) => {
    const block: Block = []
    createOutput({ ...options, ...sinks(block, false), spinner: false }).say(`    ${name}: ${text}`)
    waiting.push(block)
    print()
  }

  const look = setInterval(() => {
    for (const step of running.values()) {
      if (spinner === undefined && step.doing !== '' && secondsOf(step) * 1000 >= (step.reminders + 1) * reminderMs) {
        step.reminders += 1
        const room = usualColumns - step.name.length - 16
        say(step.name, `${fitted(step.doing, room)}  ${secondsOf(step).toFixed(0)} s`)
      }
      if (step.isLate || step.usual === undefined || secondsOf(step) <= lateAfter(step.usual)) continue
      step.isLate = true
      say(step.name, `takes long: ${secondsOf(step).toFixed(0)} s so far, usually ${step.usual.toFixed(1)} s`)
    }
    show()
  }, 250)
  look.unref()

  const exclusive: Output['alone'] = action =>
    inOrder('the terminal', async () => {
      alone += 1
      spinner?.stop()
      try {
        return await action()
      } finally {
        alone -= 1
        print()
      }
    })

  /** Where a step's output goes: into its block, or at once; of one that has the terminal for itself, at once. */
  function sinks(block: Block, direct: boolean): Pick<OutputOptions, 'stdout' | 'stderr'> {
    const sink = (stream: 'stdout' | 'stderr') =>
      new Writable({
        decodeStrings: false,
        write(text: string, _, done) {
          if (direct) options[stream].write(text)
          else block.push({ stream, text })
          done()
        },
      })
    return { stdout: sink('stdout'), stderr: sink('stderr') }
  }

  return {
    begin(name, usual) {
      const block: Block = []
      const out = createOutput({
        ...options,
        ...sinks(block, streams),
        spinner: false,
        onProgress: text => {
          shown.doing = text
        },
        // what was said before explains what is prompted for
        alone: action =>
          exclusive(async () => {
            write(block)
            return action()
          }),
      })
      const started = performance.now()
      const shown: Shown = { name, started, usual, isLate: false, reminders: 0, doing: '', block, out }
      out.title(name)
      running.set(name, shown)
      show()
      return {
        out,
        end() {
          running.delete(name)
          waiting.push(block)
          print()
        },
      }
    },
    close() {
      clearInterval(look)
      print()
      spinner?.stop()
    },
    interrupted() {
      clearInterval(look)
      for (const { out, block } of running.values()) {
        out.interrupted()
        waiting.push(block)
      }
      running.clear()
      alone = 0
      print()
      isSilent = true
    },
  }
}

/** Twice the usual time; where that is less than a second more, nobody would have read what is said of it. In seconds. */
function lateAfter(usual: number): number {
  return Math.max(usual * 2, usual + 1)
}
