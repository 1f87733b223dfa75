// How loading (with all checks of the files), rendering and status grow with the number of services in docker-compose.local.yml. No engine: its answers are made up.
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadPlatform } from '../../lib/platform/platform.ts'
import { pathsOf, secretNames } from '../../lib/platform/settings.ts'
import { renderStackFiles } from '../../lib/stack/files.ts'
import { statusOf } from '../../lib/stack/status.ts'
import { $ } from '../../lib/system/exec.ts'
import { us } from '../helpers/owner.ts'
import { markdown, report } from './report.ts'
import { rounds, spread } from './timing.ts'

const folder = await mkdtemp(join(tmpdir(), 'macula-bench-'))
const secrets = Object.fromEntries(secretNames.map(name => [name, `example-of-${name}`]))
const environment = { ...process.env, ...secrets, MACULA_STATE_DIR: join(folder, 'state') }
const installation = { ...us, owned: {} }
const sizes = [10, 100, 1000, 5000]
const steps = ['load', 'render', 'status'] as const
const taken = new Map<string, number[]>()

async function timed<T>(key: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now()
  const result = await work()
  taken.set(key, [...(taken.get(key) ?? []), (performance.now() - started) / 1000])
  return result
}

try {
  for (let round = 0; round < rounds; round += 1)
    for (const size of sizes) {
      const localComposeFile = join(folder, `${size}.yml`)
      const services = Array.from({ length: size }, (_, index) => `  extra-${index}:\n    image: example/extra:1\n`)
      await writeFile(localComposeFile, `services:\n${services.join('')}`)
      const paths = { ...pathsOf(environment), envFile: join(folder, '.env'), localComposeFile }
      const platform = await timed(`load ${size}`, () => loadPlatform(paths, environment))
      await timed(`render ${size}`, () => renderStackFiles(platform, installation, {}))
      // an engine without containers, and names that do not resolve
      const resolve = () => async (name: string) => ({ name, family: 4 as const, addresses: [] })
      await timed(`status ${size}`, () => statusOf(platform, { shell: noEngine(), resolve: resolve as never }))
    }
} finally {
  await rm(folder, { recursive: true, force: true })
}

/** `$` that answers as an engine without containers does. */
function noEngine(): typeof $ {
  return ((...args: Parameters<typeof $>) => {
    const run = () => $`true`
    return Array.isArray(args[0]) ? run() : run
  }) as unknown as typeof $
}

report('growth', [
  '## Growth',
  '',
  'Seconds by the number of services that a `docker-compose.local.yml` adds, without an engine; to load is to check, too:',
  '',
  ...markdown(
    ['step', ...sizes.map(size => `${size.toLocaleString('en')} services`)],
    steps.map(step => [step, ...sizes.map(size => spread(taken.get(`${step} ${size}`) ?? [Number.NaN], 3))]),
  ),
])
