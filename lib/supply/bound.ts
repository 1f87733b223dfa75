import { ask, failure, type Result, type RunOptions } from '../system/exec.ts'

/**
 * Runs a command that has to succeed, and that ends when this process does, however that ends: a compile of ten minutes must not go on
 * for nobody after `kill -9`. The end of our pipe to it tells; its own standard input is empty.
 */
export async function runBoundToUs(
  command: readonly string[],
  options: Omit<RunOptions, 'input'> = {},
): Promise<Result> {
  const result = await ask(['bash', '-c', script, 'bash', ...command], options)
  if (result.exitCode !== 0) throw failure(command, result)
  return result
}

// With job control each of the two is a process group, so what they start ends with them. The shell's own words on that are not the command's.
const script = `
  exec 3>&2 2>/dev/null
  set -m
  "$@" </dev/null 2>&3 3>&- & work=$!
  { cat >/dev/null; kill -TERM -- -$work; } 3>&- & watch=$!
  wait $work; code=$?
  kill -- -$watch
  exit $code`
