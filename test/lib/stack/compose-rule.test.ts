import assert from 'node:assert/strict'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parseAllDocuments } from 'yaml'
import { installationLabel } from '../../../lib/platform/installation.ts'
import { loadPlatform, type Platform } from '../../../lib/platform/platform.ts'
import type { Paths } from '../../../lib/platform/settings.ts'
import { composeOptions } from '../../../lib/stack/compose.ts'
import { composeFileNames, renderComposeFiles } from '../../../lib/stack/compose-render.ts'
import { root } from '../../../lib/system/checkout.ts'
import { composeProgram, runCompose } from '../../helpers/compose.ts'
import { unvisitedKeys } from '../../helpers/compose-schema.ts'
import { exampleInstallation } from '../../helpers/example.ts'
import { examplePaths, exampleSettings } from '../../helpers/platform.ts'

type Resource = { external?: boolean; labels?: Record<string, string> }
type Model = { services: Record<string, Service> } & Record<string, unknown>
type Service = { networks?: Record<string, unknown>; labels?: Record<string, string> } & Record<string, unknown>

const fixtures = join(root, 'test', 'fixtures', 'compose')
const names = (await readdir(fixtures)).filter(name => name.endsWith('.yml')).sort()
const compose = await composeProgram()
const environment = { FROM_OUTSIDE: `it's "$5"`, HOME_TOKEN: 'token', CONSOLE_SOURCE: `../it's "a" $5 \\n app` }

// the rule: docker-compose.local.yml means what Compose makes of it after our file, in its own folder; we only add
describe("a user's compose file", { skip: compose.skip, concurrency: 2 }, () => {
  let folder = ''
  before(async () => {
    // a path with what Compose takes for a variable, or for the end of a path
    folder = join(await mkdtemp(join(tmpdir(), 'macula-rule-')), 'a $HOME: b')
    await cp(join(fixtures, 'files'), folder, { recursive: true })
    const settings = Object.entries(await exampleSettings())
    await writeFile(join(folder, '.env'), settings.map(([key, value]) => `${key}=${value}\n`).join(''))
  })
  after(() => rm(join(folder, '..'), { recursive: true }))

  async function platformOf(name: string): Promise<Platform> {
    const paths: Paths = {
      ...examplePaths(folder),
      localComposeFile: join(folder, name),
      stateDir: join(folder, `.${name}`),
    }
    await cp(join(fixtures, name), paths.localComposeFile)
    const platform = await loadPlatform(paths, environment)
    await mkdir(paths.stateDir, { recursive: true })
    for (const { path, content } of renderComposeFiles(platform, [], exampleInstallation))
      await writeFile(join(paths.stateDir, path), content)
    return platform
  }

  function modelOf({ paths, settings }: Platform, words: readonly string[], env: Record<string, string>): Model {
    const args = [...words, '--profile', '*', 'config', '--format', 'json']
    const { cwd, env: own } = composeOptions({ paths, settings })
    const { status, stdout, stderr } = runCompose(compose.command, args, { folder: cwd, env: { ...own, ...env } })
    assert.equal(status, 0, stderr)
    return JSON.parse(stdout)
  }

  for (const name of names)
    it(`means what Compose makes of it: ${basename(name, '.yml')}`, async () => {
      const platform = await platformOf(name)
      const { services, settings } = composeFileNames
      const { localComposeFile } = platform.paths
      const files = ['-f', services, '-f', localComposeFile]
      const alone = modelOf(
        platform,
        ['--project-directory', dirname(localComposeFile), '--env-file', settings, ...files],
        {
          COMPOSE_FILE: '',
        },
      )
      assert.deepEqual(modelOf(platform, [], {}), withAdditions(alone, platform))
    })

  it('has every key of the Compose specification in one of these files', async () => {
    const documents = await Promise.all(
      [...names, 'files/deep/common.yml', 'files/deep/included.yml'].map(async name =>
        [...parseAllDocuments(await readFile(join(fixtures, name), 'utf8'), { merge: true, logLevel: 'silent' })].map(
          document => document.toJS(),
        ),
      ),
    )
    assert.ok(names.length >= 60, `${names.length} files`)
    assert.deepEqual(await unvisitedKeys(compose.command, documents.flat()), [])
  })
})

/** What Compose makes of the two files, with what we add where they say nothing. */
function withAdditions(alone: Model, platform: Platform): Model {
  const label = { [installationLabel]: exampleInstallation.id }
  const logging = alone.services.prometheus?.logging
  for (const [name, { containerName, networkMode, scale, hasLogging, networks }] of platform.described) {
    const service = alone.services[name]
    if (service === undefined) continue
    if (containerName === undefined && scale === 1) service.container_name = `macula-${name}`
    if (!hasLogging) service.logging = logging
    service.labels = { ...service.labels, ...label }
    const address = platform.compose.additions.get(name)?.networks?.['macula-infra']
    if (networkMode !== undefined || address === undefined) continue
    const before = Object.keys(networks).length === 0 ? {} : service.networks
    service.networks = { ...before, 'macula-infra': { ...(service.networks?.['macula-infra'] as object), ...address } }
  }
  // Compose names its default network only where a service is on it
  const isUsed = Object.values(alone.services).some(({ networks }) => networks?.default !== undefined)
  const described = Object.entries(alone).filter(([key]) => !key.startsWith('x-'))
  const resources = (key: 'networks' | 'volumes') =>
    Object.entries((alone[key] ?? {}) as Record<string, Resource>).flatMap(([name, resource]) => {
      if (name === 'default' && key === 'networks') return isUsed ? [[name, resource] as const] : []
      return [[name, resource.external ? resource : { ...resource, labels: { ...resource.labels, ...label } }] as const]
    })
  return {
    // extension fields at the top stay in the files
    ...(Object.fromEntries(described) as Model),
    networks: Object.fromEntries(resources('networks')),
    volumes: Object.fromEntries(resources('volumes')),
  }
}
