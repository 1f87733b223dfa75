import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { namesToCheck } from '../../../lib/dns/verify.ts'
import { clusterRoutes } from '../../../lib/platform/ingress-routes.ts'
import { pathsOf } from '../../../lib/platform/settings.ts'
import { unitName } from '../../../lib/routes/units.ts'
import { enginePrograms } from '../../../lib/sandbox/engine.ts'
import { ensureProgram } from '../../../lib/sandbox/programs.ts'
import { goTaskProgram } from '../../helpers/go-task.ts'
import { type Machine, startMachine } from '../../helpers/machine.ts'
import { askNames, askOtherNames, otherNamesAsUsual, wrongAnswers } from '../../helpers/names.ts'
import { goodPlatform } from '../../helpers/platform.ts'
import { noMachines } from '../../helpers/requirements.ts'
import { differences, type Snapshot, snapshotOf } from '../../helpers/snapshot.ts'

const goTask = await goTaskProgram()
const skip = (await noMachines()) || (goTask === undefined && 'go-task is not installed (pip install go-task-bin)')
const platform = await goodPlatform()
const names = namesToCheck(platform)

/** Where no image registry is reached, these are what can be built; a machine with cgroup v1 also needs that Kubernetes. */
const settings = {
  KIND_NODE_IMAGE: 'kindest/node:v1.34.4',
  INGRESS_CONTROLLER: 'traefik',
  INGRESS_IMAGE: 'traefik:v3.7',
}
const applicationBase = 'node:24-alpine'
/** The node runs in a container that may not lower its OOM score. */
const kindAdditions = 'featureGates: { KubeletInUserNamespace: true }\n'

/** Pages of services that are the real program on every computer, each by name, and by its own port where it has one. */
const pages = [
  ...['home', 'registry', 'prometheus', 's3-console', 'console', 'bootstrap', 'peer1', 'peer2', 'anything'],
  ...['prometheus:9090/-/ready', 'loki:3100/ready', 'loki/ready', 's3:9000/minio/health/live', 'registry/v2/'],
].map(page => {
  const [, name = '', rest = ''] = /^([\w-]+)(.*)$/.exec(page) ?? []
  return `http://${name}.${platform.domain}${rest || '/'}`
})
const pagesScript =
  'for page in "$@"; do echo "$page $(curl -s -o /dev/null -w "%{http_code}" --max-time 10 "$page")"; done'
const dockerObjects = `docker ps --all --format 'container {{.Names}}'; docker network ls --format 'network {{.Name}}'
  docker volume ls --format 'volume {{.Name}}'`

/** What containerd keeps for itself: a port, another one at each boot. */
const isOthers = /^listens tcp 127\.0\.0\.1:[3-6]\d{4}:/

describe('the whole workflow on a machine with systemd and an engine of its own', { skip }, () => {
  let machine: Machine
  let untouched: Snapshot
  let objects: string
  const task = async (...words: string[]) => {
    const { exitCode, stdout, stderr } = await machine.ask(['task', ...words], { env: settings, timeoutMs: 900_000 })
    assert.equal(exitCode, 0, `task ${words.join(' ')}\n${stdout}${stderr}`)
    return stdout + stderr
  }
  const everythingAnswers = async () => {
    const answers = await askNames(
      machine,
      names.map(({ name }) => name),
    )
    assert.equal(wrongAnswers(answers, names).join('\n'), '')
    const codes = (await machine.sh(pagesScript, ...pages)).split('\n')
    // Prometheus leads on to its query page; of names that no application has, the ingress knows nothing
    const bad = codes.filter(line => !/ (200|302)$/.test(line) && !/anything.* 404$/.test(line))
    assert.equal(bad.join('\n'), '')
    const database = "timeout 5 bash -c 'exec 3<>/dev/tcp/postgres.macula.local/5432; echo open'"
    assert.equal(await machine.sh(database), 'open')
  }

  before(async () => {
    const { cacheDir } = pathsOf()
    machine = await startMachine('workstation', line => console.error(line))
    const programs = await enginePrograms({ cacheDir })
    await machine.bringProgram(goTask!, 'task')
    await machine.bringProgram(join(programs.path.split(':').at(-1) ?? '', 'kind'), 'kind')
    await machine.bringProgram(join(await ensureProgram('kubernetes', { cacheDir }), 'kubectl'), 'kubectl')
    await machine.supplyImages([
      ...new Set(platform.services.map(({ image }) => image)),
      ...[settings.KIND_NODE_IMAGE, settings.INGRESS_IMAGE, applicationBase],
    ])
    await machine.run(['sh', '-c', 'cat >kind.local.yaml'], { input: kindAdditions })
    untouched = await snapshotOf(machine)
    objects = await machine.sh(dockerObjects)
  })
  after(() => machine?.end())

  test('task setup makes everything answer', async () => {
    console.error(await task('setup'))
    console.error(await task('timings'))
    await everythingAnswers()
    await machine.upstreamQueries()
    assert.deepEqual(await askOtherNames(machine, platform.domain), otherNamesAsUsual)
  })

  test('task setup once more changes nothing', async () => {
    const first = await snapshotOf(machine)
    const containers = "docker ps --no-trunc --format '{{.Names}} {{.ID}} {{.CreatedAt}}' | sort"
    const running = await machine.sh(containers)
    console.error(await task('setup'))
    console.error(await task('timings'))
    assert.equal(differences(first, await snapshotOf(machine)).join('\n'), '')
    assert.equal(await machine.sh(containers), running)
  })

  test('it is one tree of units, locked in, that systemd has nothing to say against', async () => {
    const sockets = [...platform.routes, ...clusterRoutes(platform)].map(route => `${unitName(route)}.socket`)
    const units = ['macula-dnsmasq.service', 'macula-network.service', 'macula-stack.service', ...sockets].sort()
    assert.equal(
      await machine.sh('systemctl list-dependencies --plain macula.target'),
      ['macula.target', ...units.map(unit => `  ${unit}`)].join('\n'),
    )
    const files = '/etc/systemd/system/macula*.{target,socket,service}'
    assert.equal(await machine.sh(`systemd-analyze verify --man=no ${files} 2>&1`), '')
    const exposures = await machine.sh(
      `for unit in $(cd /etc/systemd/system; ls macula*.service); do
         echo "$unit $(systemd-analyze security --no-pager "$unit" | awk '/Overall exposure/ { print $(NF-2) }')"
       done`,
    )
    for (const line of exposures.split('\n')) assert.ok(Number(line.split(' ')[1]) < 2.5, line)
  })

  test('everything answers after a reboot, without a command, also what somebody stopped before', async () => {
    await machine.sh('docker stop $(docker ps --quiet --filter label=com.docker.compose.project=macula)')
    await machine.reboot()
    const started = Date.now()
    const deadline = started + 120_000
    for (;;) {
      try {
        await everythingAnswers()
        break
      } catch (error) {
        if (Date.now() > deadline) throw error
        await new Promise(resume => setTimeout(resume, 1000))
      }
    }
    console.error(`everything answers ${Math.round((Date.now() - started) / 1000)} s after the machine is up`)
  })

  test('task teardown gives the machine back', async () => {
    console.error(await task('teardown', '--', '--yes', '--volumes', '--purge'))
    const others = differences(untouched, await snapshotOf(machine)).filter(line => !isOthers.test(line))
    assert.equal(others.join('\n'), '')
    assert.equal(await machine.sh(dockerObjects), objects)
    assert.equal(await machine.sh('ls -d .env .macula 2>/dev/null || true'), '')
    await machine.upstreamQueries()
    assert.deepEqual(await askOtherNames(machine, platform.domain), otherNamesAsUsual)
  })
})
