import enquirer from 'enquirer'
import { ExitCode, PlatformError } from '../system/errors.ts'

// The prompts behind output.ts. Used only where someone can answer (`out.interactive`): without a terminal enquirer ends the process silently, or waits forever.

/** Prompts for a secret without echo, and again while `check` reports a problem with the answer. */
export async function promptSecret(
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

/** Prompts before something is destroyed; Enter means no. */
export async function confirm(question: string): Promise<boolean> {
  return prompt({ type: 'confirm', name: 'answer', message: question, initial: false })
}

async function prompt<Answer>(question: Parameters<typeof enquirer.prompt>[0]): Promise<Answer> {
  try {
    const { answer } = await enquirer.prompt<{ answer: Answer }>(question)
    return answer
  } catch (cause) {
    // enquirer rejects with an empty string when the prompt is cancelled
    throw new PlatformError('Cancelled', { exitCode: ExitCode.interrupted, cause })
  }
}
