import { spawnSync } from 'node:child_process'
import { builtValidator } from './validators.ts'

/** Docker Compose as a command: the plugin of this machine, or the one that a sandbox unpacked; a reason to skip where there is neither. */
export async function composeProgram(): Promise<{ command: string[]; skip: false } | { command: []; skip: string }> {
  if (spawnSync('docker', ['compose', 'version']).status === 0) return { command: ['docker', 'compose'], skip: false }
  const { program, skip } = await builtValidator('engine', 'usr/libexec/docker/cli-plugins/docker-compose')
  return skip === false
    ? { command: [program], skip }
    : { command: [], skip: 'Docker Compose is not installed, and no sandbox has unpacked it yet' }
}

/** Runs Compose in `folder`; nothing of this machine's own settings reaches it. */
export function runCompose(
  command: readonly string[],
  args: readonly string[],
  { folder, input, env = {} }: { folder: string; input?: string; env?: Record<string, string> },
): { status: number | null; stdout: string; stderr: string } {
  const [program = '', ...first] = command
  const { status, stdout, stderr } = spawnSync(program, [...first, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH ?? '', HOME: folder, ...env },
    input: input ?? '',
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  return { status, stdout, stderr }
}
