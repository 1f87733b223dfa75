import { messageOf, PlatformError } from '../system/errors.ts'

/** What one look at the machine found. */
export interface Finding {
  /** What was checked, in a person's terms: `Docker engine`, `127.0.0.4:3000`. */
  check: string
  /** `warn`: works, or works for now; `fail`: setup would stop here. */
  state: 'ok' | 'warn' | 'fail'
  detail: string
  /** What to do: commands or settings, one per line. */
  hint?: string | undefined
}

/** A look at one side of the machine. Changes nothing. */
export interface Check {
  name: string
  look: () => Promise<Finding[]>
}

/** No check takes this long on a healthy machine. */
const checkDeadlineMs = 45_000

/** Makes all checks at once; what one of them cannot find out becomes a finding of its own. Findings come in the order of the checks. */
export async function examine(checks: readonly Check[], deadlineMs = checkDeadlineMs): Promise<Finding[]> {
  const found = await Promise.all(checks.map(check => withDeadline(check, deadlineMs)))
  return found.flat()
}

/** The failure that stops a step before it begins: all that is in its way, in one error. */
export function requireNoFailure(findings: readonly Finding[]): void {
  const failed = findings.filter(({ state }) => state === 'fail')
  const [first] = failed
  if (first === undefined) return
  const hint = [...new Set(failed.flatMap(({ hint }) => hint ?? []))].join('\n')
  throw failed.length === 1
    ? new PlatformError(`${first.check}: ${first.detail}`, { hint })
    : new PlatformError(`${failed.length} checks of this machine failed`, {
        why: failed.map(({ check, detail }) => `${check}: ${detail}`).join('\n'),
        hint,
      })
}

/** An expected error as a finding. */
export function findingOf(check: string, error: unknown): Finding {
  const { message, why, hint } = error instanceof PlatformError ? error : new PlatformError(messageOf(error))
  const reason = why?.trim().split('\n').at(-1)
  return { check, state: 'fail', detail: reason ? `${message} (${reason})` : message, hint }
}

async function withDeadline({ name, look }: Check, deadlineMs: number): Promise<Finding[]> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<Finding[]>(resolve => {
    timer = setTimeout(
      () => resolve([{ check: name, state: 'fail', detail: `no answer within ${deadlineMs / 1000} s` }]),
      deadlineMs,
    )
  })
  try {
    return await Promise.race([look(), late])
  } catch (error) {
    return [findingOf(name, error)]
  } finally {
    clearTimeout(timer)
  }
}
