import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { failureOf, type Shell, shellWith } from '../system/exec.ts'
import type { EnginePrograms } from './programs.ts'

/** The engine that images are made for, and the programs to talk to it with. */
export interface EngineAddress {
  /** As in DOCKER_HOST. */
  host: string
  programs: EnginePrograms
}

/** An image that an engine has. */
export interface EngineImage {
  id: string
  labels: Record<string, string>
}

/** Docker's CLI against one engine; nothing of the user's own Docker configuration is read or changed. */
export interface DockerClient {
  /** A `$` whose `docker` is that CLI. Builds, saves and loads take minutes: no deadline unless a call gives one. */
  $: Shell
  /** Whether the engine has an image of this name. */
  has(image: string): Promise<boolean>
  /** What the engine knows of an image; undefined when it has none of this name. */
  inspect(image: string): Promise<EngineImage | undefined>
  close(): Promise<void>
}

/** `path` is the PATH to put the engine's programs in front of. */
export async function dockerClient({ host, programs }: EngineAddress, path: string): Promise<DockerClient> {
  const config = await mkdtemp(join(tmpdir(), 'macula-docker-'))
  await symlink(programs.cliPlugins, join(config, 'cli-plugins'))
  const $ = shellWith({
    timeout: 0,
    env: {
      DOCKER_HOST: host,
      DOCKER_CONFIG: config,
      DOCKER_BUILDKIT: '1',
      ...(programs.path ? { PATH: `${programs.path}:${path}` } : {}),
    },
  })
  const inspect = (image: string) => inspectImage($, image)
  return {
    $,
    has: async image => (await inspect(image)) !== undefined,
    inspect,
    close: () => rm(config, { recursive: true, force: true }),
  }
}

async function inspectImage($: Shell, image: string): Promise<EngineImage | undefined> {
  const format = '{"id":{{json .Id}},"labels":{{json .Config.Labels}}}'
  const answer = await $({ nothrow: true, timeout: '60s' })`docker image inspect --format ${format} ${image}`
  if (answer.exitCode === 0) {
    const { id, labels } = JSON.parse(answer.stdout)
    return { id, labels: labels ?? {} }
  }
  if (/no such image/i.test(answer.stderr)) return undefined
  throw failureOf(`docker image inspect ${image}`, answer)
}
