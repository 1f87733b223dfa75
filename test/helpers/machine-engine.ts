import { mkdir, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { pathsOf } from '../../lib/platform/settings.ts'
import type { EngineAddress } from '../../lib/sandbox/docker-client.ts'
import { engineEnvironment, enginePrograms, outsideAddress, startEngine } from '../../lib/sandbox/engine.ts'
import { startNamespace } from '../../lib/sandbox/namespace.ts'
import { storeOf } from '../../lib/sandbox/store.ts'
import { type SupplyOptions, withLock } from '../../lib/supply/cache.ts'
import { ask, type Runner, run } from './run.ts'

/** A Docker engine for test machines, in a namespace of its own. */
export interface MachineEngine {
  /** `run` with the engine's client and its address. */
  docker: Runner
  /** `ask`, the same way. */
  askDocker: Runner
  supply: SupplyOptions
  /** The same, for what makes images. */
  address: EngineAddress
  end(): Promise<void>
}

/**
 * Starts the engine that test machines run in, with the images of earlier runs. One at a time on one computer: a second caller waits.
 * It ends with this process, however that ends. Needs root.
 */
export async function startMachineEngine(report: (line: string) => void): Promise<MachineEngine> {
  const { cacheDir } = pathsOf()
  const supply: SupplyOptions = {
    cacheDir,
    report: ({ what, state, detail }) => report(`${what}: ${state}, ${detail}`),
  }
  const release = await holdLock(join(cacheDir, 'locks', 'machines'), () => report('waiting for other machine tests'))
  try {
    const programs = await enginePrograms(supply)
    const store = storeOf(cacheDir, 'machines')
    const namespace = await startNamespace(store, [store.folder])
    const end = async () => {
      await namespace.end()
      release()
    }
    try {
      const inside = engineEnvironment(programs, process.env.PATH ?? '')
      await startEngine(namespace, { store, programs, environment: inside })
      const env = {
        ...inside,
        DOCKER_HOST: outsideAddress(namespace),
        DOCKER_CONFIG: await clientFolder(cacheDir, programs.cliPlugins),
      }
      return {
        docker: (command, options) => run(command, { ...options, env: { ...env, ...options?.env } }),
        askDocker: (command, options) => ask(command, { ...options, env: { ...env, ...options?.env } }),
        supply,
        address: { host: env.DOCKER_HOST, programs },
        end,
      }
    } catch (error) {
      await end()
      throw error
    }
  } catch (error) {
    release()
    throw error
  }
}

/** A Docker client configuration that knows nothing but where the plugins are. */
async function clientFolder(cacheDir: string, cliPlugins: string): Promise<string> {
  const folder = join(cacheDir, 'machines-client')
  await mkdir(folder, { recursive: true })
  await rm(join(folder, 'cli-plugins'), { force: true })
  await symlink(cliPlugins, join(folder, 'cli-plugins'))
  return folder
}

/** Takes the lock and keeps it until the function it returns is called. */
async function holdLock(file: string, waiting: () => void): Promise<() => void> {
  return new Promise((resolve, reject) => {
    withLock(file, waiting, () => new Promise<void>(release => resolve(release))).catch(reject)
  })
}
