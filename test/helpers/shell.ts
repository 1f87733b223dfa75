import assert from 'node:assert/strict'
import { type Command, type CommandOptions, failureOf, quote, type Result, type Shell } from '../../lib/system/exec.ts'

export type Answer = Partial<Result> | string | undefined

/**
 * A `$` that runs nothing: `answer` is given each command as a person would type it, and says what it prints (a string) or how it ends.
 * Like the real one it throws for a non-zero exit code unless the call says `nothrow`.
 */
export function shellOf(answer: (command: string, options: CommandOptions) => Answer | Promise<Answer>): Shell {
  const start = (options: CommandOptions, pieces: TemplateStringsArray, values: readonly unknown[]): Command => {
    const line = pieces.map((piece, index) => piece + (index < values.length ? wordsOf(values[index]) : '')).join('')
    let nothrow = options.nothrow === true
    const output = Promise.resolve()
      .then(() => answer(line, options))
      .then(given => {
        const result = {
          exitCode: 0,
          stdout: '',
          stderr: '',
          ...(typeof given === 'string' ? { stdout: given } : given),
        }
        for (const text of result.stdout.split('\n').filter(Boolean)) options.onLine?.(text, 'stdout')
        if (result.exitCode !== 0 && !nothrow) throw failureOf(line, result)
        return result
      })
    output.catch(() => {})
    return Object.assign(output, {
      nothrow(value = true) {
        nothrow = value
        return this
      },
      text: async () => (await output).stdout,
      json: async () => JSON.parse((await output).stdout),
      lines: async () => linesOf((await output).stdout),
      async *[Symbol.asyncIterator]() {
        yield* linesOf((await output).stdout)
      },
    }) as unknown as Command
  }
  return ((first: TemplateStringsArray | CommandOptions, ...values: unknown[]) =>
    Array.isArray(first)
      ? start({}, first as unknown as TemplateStringsArray, values)
      : (pieces: TemplateStringsArray, ...more: unknown[]) => start(first as CommandOptions, pieces, more)) as Shell
}

/** Answers commands by their beginning, and fails the test for any other; `asked` collects them. */
export function shellAnswering(answers: Readonly<Record<string, Answer>>, asked: string[] = []): Shell {
  return shellOf(command => {
    asked.push(command)
    const found = Object.entries(answers).find(([start]) => command.startsWith(start))
    assert.ok(found, `nobody expected: ${command}`)
    return found[1]
  })
}

/** A `$` that runs what it is given by another one, `around` it: before and after each command something can be done, or fail. */
export function shellAround(
  shell: Shell,
  around: (run: () => Promise<Result>, command: string) => Promise<Result>,
): Shell {
  return shellOf((line, options) => {
    // the line is quoted already
    const pieces = Object.assign([line], { raw: [line] }) as unknown as TemplateStringsArray
    return around(async () => shell({ ...options, nothrow: true })(pieces), line)
  })
}

function wordsOf(value: unknown): string {
  return Array.isArray(value) ? value.map(word => quote(String(word))).join(' ') : quote(String(value))
}

function linesOf(text: string): string[] {
  return text === '' ? [] : text.trimEnd().split(/\r?\n/)
}
