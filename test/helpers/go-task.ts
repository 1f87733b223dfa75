import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { hasTool } from '../../lib/system/exec.ts'
import { run } from './run.ts'

/** Path of go-task's own executable on this computer, behind whatever wrapper is on PATH; undefined where it is not installed. */
export async function goTaskProgram(): Promise<string | undefined> {
  if (!(await hasTool('task'))) return undefined
  const folder = await mkdtemp(join(tmpdir(), 'macula-task-'))
  try {
    const command = "sh -c 'readlink /proc/$PPID/exe'"
    await writeFile(
      join(folder, 'Taskfile.yml'),
      `version: '3'\ntasks:\n  default:\n    silent: true\n    cmds: [${JSON.stringify(command)}]\n`,
    )
    return (await run(['task', '--dir', folder])).stdout.trim()
  } finally {
    await rm(folder, { recursive: true })
  }
}
