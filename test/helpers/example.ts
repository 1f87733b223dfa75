import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Installation } from '../../lib/platform/installation.ts'
import { buildPlatform, type Platform } from '../../lib/platform/platform.ts'
import { type RenderedFile, writeIfChanged } from '../../lib/platform/render.ts'
import { defaultSettings, type Paths, pathsOf, type Settings } from '../../lib/platform/settings.ts'
import { renderComposeFiles } from '../../lib/stack/compose-render.ts'
import { renderConfigs } from '../../lib/stack/config/configs.ts'
import { root } from '../../lib/system/checkout.ts'
import type { Problem } from '../../lib/system/errors.ts'

/** Secrets made of the characters that quoting goes wrong with. */
export const exampleSecrets = {
  GRAFANA_PASSWORD: `grafana'"#;$$`,
  MINIO_ROOT_PASSWORD: 'minio/+=&%20',
  POSTGRES_PASSWORD: `pg'quote\\and"#x%s$$`,
  POSTGRES_METRICS_PASSWORD: `metrics'p\\a"ss#$$`,
  PDNS_API_KEY: 'api-key-123#4=5',
  PDNS_DB_PASSWORD: `db'pass#w\\ord`,
  PDNS_ADMIN_SECRET_KEY: '0123456789abcdef',
  PDNS_ADMIN_SALT: 'fedcba9876543210',
} satisfies Partial<Settings>

/** An installation that has created nothing yet. */
export const exampleInstallation: Installation = { id: '0123456789ab', owned: {} }

interface ExampleOptions {
  settings?: Partial<Settings>
  /** Text of a docker-compose.local.yml. */
  local?: string
  /** The user's folder with rules, dashboards and pipelines. */
  observability?: string
}

/** The platform of our own compose file with the default settings, and whatever is wrong with it. */
export async function describeExample({
  settings = {},
  local,
  observability = '/nonexistent',
}: ExampleOptions = {}): Promise<{
  platform: Platform
  problems: Problem[]
}> {
  const file = 'templates/docker-compose.yml'
  const sources = [{ file, text: await readFile(join(root, file), 'utf8') }]
  if (local !== undefined) sources.push({ file: 'docker-compose.local.yml', text: local })
  const defaults = await defaultSettings()
  const paths: Paths = pathsOf({ HOME: '/nonexistent', MACULA_LOCAL_OBSERVABILITY: observability })
  return buildPlatform(sources, { ...defaults, ...exampleSecrets, ...settings }, defaults, paths)
}

/** The same, where nothing may be wrong. */
export async function examplePlatform(options: ExampleOptions = {}): Promise<Platform> {
  const { platform, problems } = await describeExample(options)
  if (problems.length > 0) throw new Error(problems.map(({ where, what }) => `${where}: ${what}`).join('\n'))
  return platform
}

/** Everything that is rendered for the containers: configurations, secrets, compose files. */
export async function renderExample(options: ExampleOptions = {}): Promise<RenderedFile[]> {
  const platform = await examplePlatform(options)
  const configs = await renderConfigs(platform)
  return [...configs, ...renderComposeFiles(platform, configs, exampleInstallation)]
}

/** The content of one rendered file. */
export function contentOf(files: readonly RenderedFile[], path: string): string {
  const file = files.find(file => file.path === path)
  if (file === undefined) throw new Error(`${path} is not among ${files.map(({ path }) => path).join(', ')}`)
  return file.content
}

/** Files written to a folder of their own that every user can read; `remove` takes it away. */
export async function writtenTo(files: readonly RenderedFile[]): Promise<{ folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'macula-test-'))
  await chmod(folder, 0o755)
  for (const { path, content, mode } of files) await writeIfChanged(join(folder, path), content, mode)
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) }
}
