import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buildPlatform, type Platform } from '../../lib/platform/platform.ts'
import { defaultSettings, type Paths, pathsOf, type Settings, secretNames } from '../../lib/platform/settings.ts'
import { root } from '../../lib/system/checkout.ts'

/** The default settings with a distinct, made-up value for each secret. */
export async function exampleSettings(changes: Partial<Settings> = {}): Promise<Settings> {
  const secrets = Object.fromEntries(secretNames.map(name => [name, `example-of-${name}`]))
  return { ...(await defaultSettings()), ...secrets, ...changes }
}

/** Paths below a folder of the test's own. */
export function examplePaths(folder = '/nowhere'): Paths {
  return {
    ...pathsOf({}),
    envFile: join(folder, '.env'),
    stateDir: join(folder, '.macula'),
    localComposeFile: join(folder, 'docker-compose.local.yml'),
    localKindFile: join(folder, 'kind.local.yaml'),
    localObservability: join(folder, 'observability.local'),
  }
}

/** The platform that our own compose file describes, with a user's file beside it where one is given. */
export async function examplePlatform({
  local,
  settings = {},
  paths = examplePaths(),
  environment = {},
}: {
  local?: string
  settings?: Partial<Settings>
  paths?: Paths
  environment?: NodeJS.ProcessEnv
} = {}): Promise<ReturnType<typeof buildPlatform>> {
  const file = 'templates/docker-compose.yml'
  const sources = [{ file, text: await readFile(join(root, file), 'utf8') }]
  if (local !== undefined) sources.push({ file: 'docker-compose.local.yml', text: local })
  return buildPlatform(sources, await exampleSettings(settings), await defaultSettings(), paths, environment)
}

/** The same, for tests that are not about mistakes in it. */
export async function goodPlatform(options: Parameters<typeof examplePlatform>[0] = {}): Promise<Platform> {
  const { platform, problems } = await examplePlatform(options)
  if (problems.length > 0) throw new Error(JSON.stringify(problems))
  return platform
}

/** The documented names, written out: what the catalogue comes to has to be exactly this. */
export const documentedAddresses: Readonly<Record<string, string>> = {
  home: '127.0.0.1',
  registry: '127.0.0.1',
  dns: '127.0.0.1',
  'dns-admin': '127.0.0.1',
  prometheus: '127.0.0.3',
  grafana: '127.0.0.4',
  loki: '127.0.0.5',
  tempo: '127.0.0.6',
  postgres: '127.0.0.7',
  s3: '127.0.0.8',
  's3-console': '127.0.0.8',
  console: '127.0.0.2',
  bootstrap: '127.0.0.2',
  peer1: '127.0.0.2',
  peer2: '127.0.0.2',
}
