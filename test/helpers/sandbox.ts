import { join } from 'node:path'
import { pathsOf } from '../../lib/platform/settings.ts'
import { failedServices, servicesToCome, supplyCluster, supplyNext } from '../../lib/sandbox/later.ts'
import { newSandbox, requireUp } from '../../lib/sandbox/making.ts'
import { requireSandboxMachine } from '../../lib/sandbox/requirements.ts'
import { sandboxShell } from '../../lib/sandbox/sandbox.ts'
import { runWorkflow, startSandbox as startEmptySandbox, stopSandbox, supplySandbox } from '../../lib/sandbox/start.ts'
import { storeOf } from '../../lib/sandbox/store.ts'
import { withLock } from '../../lib/supply/cache.ts'
import { messageOf } from '../../lib/system/errors.ts'
import type { CommandOptions, Result } from '../../lib/system/exec.ts'
import type { StepProgress } from '../../lib/system/progress.ts'

/** All test files share one store, so that images are built once. */
export const testStoreName = 'tests'

/** A sandbox with the platform in it, for one test file. */
export interface TestSandbox {
  /** Runs a script with bash inside, in the checkout; a non-zero exit code is an answer. */
  exec(script: string, options?: CommandOptions): Promise<Result>
  /** Runs one command inside. */
  ask(command: readonly string[], options?: CommandOptions): Promise<Result>
  /** Variables of the sandbox, MACULA_ENV_FILE and DOCKER_HOST among them. */
  env: Readonly<Record<string, string>>
  /** Where the file of that name inside is seen from outside. */
  path(inside: string): string
  end(): Promise<void>
}

export interface TestSandboxOptions {
  /** Groups of services; all when left out. */
  only?: readonly string[]
  /** Words for lib/cli/launch.mjs; `false` leaves the sandbox with nothing but engine, images and settings. */
  workflow?: readonly string[] | false
  /** With a cluster and the applications in it, where the workflow is left as it is; with `false` as workflow, just its images. */
  cluster?: boolean
  /** Added to the environment of everything inside. */
  env?: Record<string, string>
}

/** Why sandboxes cannot run on this computer; false where they can. Made for the `skip` of node:test. */
export async function noSandbox(): Promise<string | false> {
  return requireSandboxMachine(pathsOf().cacheDir, 'tests').then(
    () => false,
    error => `no sandbox here: ${messageOf(error)}`,
  )
}

/**
 * Brings up a sandbox with the platform. All test files share one store, so that images are built once; a second caller waits for the first.
 * It ends with this process, however that ends.
 */
export async function startSandbox({
  only,
  workflow = ['platform', '--yes'],
  cluster = false,
  env = {},
}: TestSandboxOptions = {}): Promise<TestSandbox> {
  const { cacheDir } = pathsOf()
  const release = await lockSandboxTests()
  const sandbox = newSandbox({
    store: storeOf(cacheDir, testStoreName),
    cacheDir,
    environment: process.env,
    variables: env,
    only: only?.join(','),
    cluster,
    warn: text => process.stderr.write(`${text}\n`),
  })
  const end = async () => {
    await stopSandbox(sandbox)
    release()
  }
  try {
    await startEmptySandbox(sandbox, silent)
    await supplySandbox(sandbox, silent)
    while (servicesToCome(sandbox).length > 0) await supplyNext(sandbox, silent)
    for (const { error } of failedServices(sandbox)) throw error
    if (workflow) await runWorkflow(sandbox, workflow)
    if (cluster) await supplyCluster(sandbox, silent)
    if (cluster && workflow) await runWorkflow(sandbox, ['cluster', '--yes'])
  } catch (error) {
    await end()
    throw error
  }
  const { state } = requireUp(sandbox)
  const $ = sandboxShell(state)
  const ask: TestSandbox['ask'] = (command, options) => $({ timeout: 0, ...options, nothrow: true })`${command}`
  return {
    exec: (script, options) => ask(['bash', '-c', script], options),
    ask,
    env: state.environment,
    path: inside => join(`/proc/${state.init.pid}/root`, inside),
    end,
  }
}

const silent: StepProgress = { update: () => {}, line: () => {} }

/** Waits until no other test file has the shared store, and takes it until the function it returns is called. */
export async function lockSandboxTests(): Promise<() => void> {
  const file = join(pathsOf().cacheDir, 'locks', 'sandbox-tests')
  const waiting = () => process.stderr.write('waiting for other sandbox tests\n')
  return new Promise((resolve, reject) => {
    withLock(file, waiting, () => new Promise<void>(release => resolve(release))).catch(reject)
  })
}
