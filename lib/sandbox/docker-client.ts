import { mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ask, type Result, type RunOptions, run } from '../exec.ts'
import type { EnginePrograms } from './programs.ts'

/** The engine that images are made for, and the programs to talk to it with. */
export interface EngineAddress {
  /** As in DOCKER_HOST. */
  host: string
  programs: EnginePrograms
}

/** Docker's CLI against one engine; nothing of the user's own Docker configuration is read or changed. */
export interface DockerClient {
  run(args: readonly string[], options?: RunOptions): Promise<Result>
  /** Whether the engine has an image of this name. */
  has(image: string): Promise<boolean>
  close(): Promise<void>
}

/** `path` is the PATH to put the engine's programs in front of. */
export async function dockerClient({ host, programs }: EngineAddress, path: string): Promise<DockerClient> {
  const config = await mkdtemp(join(tmpdir(), 'macula-docker-'))
  await mkdir(config, { recursive: true })
  await symlink(programs.cliPlugins, join(config, 'cli-plugins'))
  const env = {
    DOCKER_HOST: host,
    DOCKER_CONFIG: config,
    DOCKER_BUILDKIT: '1',
    ...(programs.path ? { PATH: `${programs.path}:${path}` } : {}),
  }
  const withEnv = (options: RunOptions = {}) => ({ ...options, env: { ...env, ...options.env } })
  return {
    run: (args, options) => run(['docker', ...args], withEnv(options)),
    has: async image =>
      (await ask(['docker', 'image', 'inspect', '--format', '{{.Id}}', image], withEnv())).exitCode === 0,
    close: () => rm(config, { recursive: true, force: true }),
  }
}
