import enquirer from 'enquirer'
import { ExitCode, PlatformError } from '../system/errors.ts'

// The questions behind output.ts. They are asked only where someone can answer (`out.interactive`): without a terminal enquirer ends the process without a word, or waits for ever.

/** Asks for a secret; what is typed is not shown. `check` says what is wrong with an answer, which is then asked for again. */
export async function askSecret(
  question: string,
  check: (answer: string) => Promise<string | undefined>,
): Promise<string> {
  return prompt({
    type: 'password',
    name: 'answer',
    message: question,
    validate: async (answer: string) => (await check(answer)) ?? true,
  })
}

/** Lets a person choose one of several values, `preset` first. */
export async function choose(question: string, choices: readonly string[], preset: string): Promise<string> {
  const initial = Math.max(0, choices.indexOf(preset))
  return prompt({ type: 'select', name: 'answer', message: question, choices: [...choices], initial })
}

/** Asks before something is destroyed; Enter means no. */
export async function confirm(question: string): Promise<boolean> {
  return prompt({ type: 'confirm', name: 'answer', message: question, initial: false })
}

async function prompt<Answer>(question: Parameters<typeof enquirer.prompt>[0]): Promise<Answer> {
  try {
    const { answer } = await enquirer.prompt<{ answer: Answer }>(question)
    return answer
  } catch (cause) {
    // enquirer rejects with an empty string when the question is cancelled
    throw new PlatformError('Cancelled', { exitCode: ExitCode.interrupted, cause })
  }
}
