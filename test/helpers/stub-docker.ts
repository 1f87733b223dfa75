import { spawnSync } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Settings } from '../../lib/platform/settings.ts'
import { root } from '../../lib/system/checkout.ts'
import { exampleSettings } from './platform.ts'

/** What an engine that answers says; without containers, networks and images. */
export const workingDocker = `
  version*) echo 29.10.0;;
  'compose version --short') echo 5.6.0;;
  compose*) cat;;`

/** Tasks run with settings of their own, and with a docker that says what a test wants it to. */
export interface StubbedTasks {
  folder: string
  envFile: string
  stateDir: string
  localComposeFile: string
  environment: NodeJS.ProcessEnv
  /** Puts a docker first on PATH; `cases` are those of a shell's \`case\` over its arguments. */
  docker(cases: string): Promise<void>
  /** Runs a task to its end. */
  task(name: string, ...words: string[]): { status: number | null; stdout: string; stderr: string }
  /** The arguments of every call of docker so far. */
  calls(): Promise<string[]>
  remove(): Promise<void>
}

/** The settings use addresses that nobody else on this machine has. */
export async function stubbedTasks(settings: Partial<Settings> = {}): Promise<StubbedTasks> {
  const folder = await mkdtemp(join(tmpdir(), 'macula-tasks-'))
  const [envFile, stateDir, localComposeFile, callsFile] = ['.env', 'state', 'local.yml', 'calls'].map(name =>
    join(folder, name),
  ) as [string, string, string, string]
  const values = await exampleSettings({ MACULA_LOOPBACK: '127.77.0.1', MACULA_SUBNET: '10.231.0.0/16', ...settings })
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}\n`)
  await writeFile(envFile, lines.join(''))
  const environment = {
    ...process.env,
    PATH: `${folder}:${process.env.PATH}`,
    MACULA_ENV_FILE: envFile,
    MACULA_STATE_DIR: stateDir,
    MACULA_LOCAL_COMPOSE: localComposeFile,
  }
  return {
    folder,
    envFile,
    stateDir,
    localComposeFile,
    environment,
    docker: cases =>
      writeFile(join(folder, 'docker'), `#!/bin/sh\necho "$*" >>${callsFile}\ncase "$*" in ${cases}\nesac\n`, {
        mode: 0o755,
      }),
    task: (name, ...words) =>
      spawnSync(process.execPath, ['lib/cli/launch.mjs', name, ...words], {
        cwd: root,
        encoding: 'utf8',
        env: environment,
      }),
    calls: async () => (await readFile(callsFile, 'utf8').catch(() => '')).split('\n').filter(Boolean),
    remove: () => rm(folder, { recursive: true }),
  }
}
