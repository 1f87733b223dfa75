// Runs inside a sandbox whose cluster is up: making a cluster, and bringing an edited application to its URL, against the bare commands.

import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { loadPlatform } from '../../lib/platform/platform.ts'
import { pathsOf } from '../../lib/platform/settings.ts'
import { composeOptions } from '../../lib/stack/compose.ts'
import { root } from '../../lib/system/checkout.ts'
import { markdown, report } from './report.ts'
import { compare, header, ratioRow, rounds, seconds, taskSeconds, timeRow } from './timing.ts'

const platform = await loadPlatform(pathsOf(), process.env)
const compose = (...words: string[]) => seconds(['docker', 'compose', ...words], composeOptions(platform))
const { stateDir } = platform.paths
const name = platform.settings.CLUSTER_NAME
const kubeconfig = join(stateDir, 'kubeconfig')
const page = `http://console.${platform.domain}/`
const source = join(await mkdtemp(join(tmpdir(), 'macula-bench-')), 'console')
await cp(join(root, 'templates', 'applications', 'placeholder'), source, { recursive: true })
process.env.CONSOLE_SOURCE = source
const server = join(source, 'server.mjs')
const original = await readFile(server, 'utf8')
let edition = 0

/** Changes the application so that its page tells the edition. */
async function edit(): Promise<void> {
  edition += 1
  await writeFile(server, original.replace('<h1>', `<h1>edition-${edition} `))
}

/** Seconds until the page tells the latest edition, the work included. */
async function untilServed(work: () => void): Promise<number> {
  const started = performance.now()
  work()
  while (!(await fetch(page).then(answer => answer.text())).includes(`edition-${edition} `)) await pause(50)
  return (performance.now() - started) / 1000
}

function rollOutBare(): void {
  const image = `localhost:${platform.settings.REGISTRY_PORT}/macula/console:bench-${edition}`
  const kubectl = ['kubectl', '--kubeconfig', kubeconfig, '--context', `kind-${name}`, '--namespace', 'macula']
  seconds(['docker', 'build', '--quiet', '--tag', image, source])
  seconds(['docker', 'push', '--quiet', image])
  seconds([...kubectl, 'set', 'image', 'deployment/console', `application=${image}`])
  seconds([...kubectl, 'rollout', 'status', 'deployment/console'])
}

function rollOutOurs(): void {
  taskSeconds('deploy-apps', 'console')
}

rollOutOurs()
const rollOut = await compare(
  rounds,
  edit,
  () => untilServed(rollOutOurs),
  () => untilServed(rollOutBare),
)
rollOutOurs()
const again = ['bash', '-c', 'node lib/cli/launch.mjs build-and-push && node lib/cli/launch.mjs deploy-apps']
const idle = Array.from({ length: rounds }, () => seconds(again))

const config = join(stateDir, 'cluster', 'kind.yaml')
const create = await compare(
  rounds,
  () => {
    // the bare one is not ours to delete for the task
    seconds(['kind', 'delete', 'cluster', '--name', name, '--kubeconfig', kubeconfig])
    taskSeconds('delete-cluster', '--yes')
  },
  () => taskSeconds('setup-cluster'),
  () =>
    seconds([
      'kind',
      'create',
      'cluster',
      '--name',
      name,
      '--config',
      config,
      '--kubeconfig',
      kubeconfig,
      '--wait',
      '120s',
    ]),
)
await rm(join(source, '..'), { recursive: true })
const beside = await compare(
  rounds,
  // not `down`: the nodes are on the network
  () => compose('rm', '--stop', '--force', '--volumes'),
  () => taskSeconds('start-infrastructure'),
  () => compose('up', '--detach', '--wait'),
)
// the platform is measured after this, and a cluster beside it would take a share of the processors
taskSeconds('delete-cluster', '--yes')

report('cluster', [
  '## The cluster',
  '',
  ...markdown(header, [
    ratioRow('create to Ready (setup-cluster), against kind', create, 1.05),
    ratioRow('edit to new version at its URL, against docker and kubectl', rollOut, 1.1),
    ratioRow('bring-up of the services with a cluster beside them, against `compose up`', beside, 1.15),
    timeRow('build-and-push and deploy-apps with no change', idle, 1),
  ]),
])
