import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Paths, pathsOf } from '../platform/settings.ts'
import { root } from '../system/checkout.ts'
import { ExitCode, PlatformError } from '../system/errors.ts'
import type { Shell } from '../system/exec.ts'
import { identityOf } from '../system/processes.ts'
import { type Namespace, shellInside } from './namespace.ts'
import { livingSandbox, type SandboxState, type Store, writeState } from './store.ts'

/** Inside, in memory: settings and state of the sandbox's platform. */
const settingsFolder = '/run/macula'
/** What a user's shell may say about other engines, clusters and networks; none of it can be reached from inside. */
const foreign = [
  ...['DOCKER_CONTEXT', 'DOCKER_TLS_VERIFY', 'DOCKER_CERT_PATH', 'COMPOSE_FILE', 'COMPOSE_PROJECT_NAME'],
  ...['http_proxy', 'https_proxy', 'all_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY'],
]

/** What a command has to know to run inside. */
export type Inside = Pick<SandboxState, 'init' | 'environment'>

/** The variables that tell the workflow where it is, on top of the engine's. */
export function sandboxEnvironment(store: Store, engine: Record<string, string>): Record<string, string> {
  return {
    ...engine,
    MACULA_SANDBOX: store.name,
    MACULA_ENV_FILE: `${settingsFolder}/.env`,
    MACULA_STATE_DIR: `${settingsFolder}/state`,
    MACULA_LOCAL_KIND: `${settingsFolder}/kind.local.yaml`,
    DOCKER_DATA_ROOT: store.dataRoot,
    KUBECONFIG: `${settingsFolder}/kubeconfig`,
  }
}

/** The sandbox's settings and state as seen from outside. */
export function pathsInside({ init, environment }: Inside): Paths {
  const seen = pathsOf(environment)
  const outside = (path: string) => join(`/proc/${init.pid}/root`, path)
  return {
    ...seen,
    envFile: outside(seen.envFile),
    stateDir: outside(seen.stateDir),
    localKindFile: outside(seen.localKindFile),
  }
}

/** Remembers a sandbox that is up, so that it is found again. */
export async function rememberSandbox(
  store: Store,
  { init }: Namespace,
  environment: Record<string, string>,
): Promise<SandboxState> {
  const runner = await identityOf(process.pid)
  if (!runner)
    throw new PlatformError('This process does not find itself in /proc', { hint: 'mount -t proc proc /proc' })
  const since = new Date().toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })
  const state = { init, runner, since, kept: false, environment }
  await writeState(store, state)
  return state
}

/** The sandbox of this store. Throws when none is up. */
export async function requireSandbox(store: Store): Promise<SandboxState> {
  const state = await livingSandbox(store)
  if (state) return state
  throw new PlatformError(`There is no sandbox ${store.name}`, {
    hint: `task sandbox -- --keep${store.name === defaultName ? '' : ` --name ${store.name}`}`,
  })
}

export const defaultName = 'default'

/** A `$` whose commands run in the sandbox as a person at its shell would run them: in this checkout, which is the machine's own there too. */
export function sandboxShell({ init, environment }: Inside): Shell {
  return shellInside(init, { environment, unset: foreign, cwd: root })
}

/** Opens a shell in the sandbox at this terminal; its exit code comes back. */
export async function openShell(state: Inside): Promise<number> {
  const prompt = `(sandbox ${state.environment.MACULA_SANDBOX}) \\w\\$ `
  const startFile = `${settingsFolder}/bashrc`
  // a user's own start file may set PATH and prompt anew
  const lines = ['[ -f ~/.bashrc ] && . ~/.bashrc', `PATH='${state.environment.PATH}'`, `PS1='${prompt}'`, '']
  await writeFile(join(`/proc/${state.init.pid}/root`, startFile), lines.join('\n'))
  const { exitCode } = await sandboxShell(state)({ inherit: true, nothrow: true })`bash --rcfile ${startFile} -i`
  return exitCode ?? ExitCode.failed
}

/** Runs a user's command line in the sandbox, with this process's own streams; its exit code comes back, 128 + n for signal n. */
export async function execute(state: Inside, commandLine: string): Promise<number> {
  const { exitCode } = await sandboxShell(state)({ inherit: true, nothrow: true })`bash -c ${commandLine}; exit $?`
  return exitCode ?? ExitCode.failed
}
