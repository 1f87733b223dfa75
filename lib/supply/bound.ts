import { spawn } from 'node:child_process'
import { $ as zx } from 'zx/core'
import { $, type Command, type CommandOptions } from '../system/exec.ts'

/**
 * A `$` for long work that has to end when this process does, however that ends: a compile of ten minutes must not go on for nobody
 * after `kill -9`. The end of our pipe to the command tells it; the command's own standard input is empty. No deadline unless one is given.
 */
export function boundToUs(
  options: Omit<CommandOptions, 'input' | 'spawn'> = {},
): (pieces: TemplateStringsArray, ...values: unknown[]) => Command {
  const env = { ...zx.env, ...options.env } as Record<string, string>
  return $({ timeout: 0, ...options, env, spawn: spawnBound as CommandOptions['spawn'] })
}

const spawnBound = (command: string, args: readonly string[], options: object & { stdio?: unknown[] }) =>
  spawn('/bin/sh', ['-c', script, command, ...args], {
    ...options,
    shell: false,
    stdio: ['pipe', 'pipe', 'pipe'],
  })

// All are in one process group of their own. The watcher reads nothing until we are gone; then it ends the group, itself included.
const script = `
  exec 3<&0
  /bin/sh -c "$0" </dev/null 3<&- & work=$!
  { while read -r _; do :; done; kill -TERM 0; } <&3 >/dev/null 2>&1 & watch=$!
  exec 3<&-
  wait $work; code=$?
  kill $watch
  exit $code`
