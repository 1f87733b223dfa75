import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { after, before, describe, it } from 'node:test'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../helpers/stub-docker.ts'

const stoppedDocker = `
  'compose version --short') echo 5.6.0;;
  compose*) cat;;
  *) echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2; exit 1;;`
const refusingDocker = `
  *) echo 'permission denied while trying to connect to the docker API at unix:///var/run/docker.sock' >&2; exit 1;;`

describe('task doctor', () => {
  let tasks: StubbedTasks
  before(async () => {
    tasks = await stubbedTasks({ CLUSTER: 'kind', MACULA_LOOPBACK: '127.79.0.1' })
  })
  after(() => tasks.remove())

  async function doctor(docker: string, ...words: string[]) {
    await tasks.docker(docker)
    return tasks.task('doctor', ...words)
  }
  const findingsOf = (stdout: string) =>
    JSON.parse(stdout).findings as { check: string; state: string; detail: string; hint: string | null }[]

  it('prints one JSON document and nothing else on stdout, and ends with 1 where something blocks', async () => {
    const { status, stdout } = await doctor(stoppedDocker, '--json')
    const engine = findingsOf(stdout).find(({ check }) => check === 'Docker engine')
    assert.equal(status, 1)
    assert.equal(engine?.state, 'fail')
    assert.match(engine?.detail ?? '', /Docker is not running/)
    assert.ok(findingsOf(stdout).some(({ check, state }) => check === 'Docker Compose' && state === 'ok'))
  })

  it('says what to do for a user who may not use Docker', async () => {
    const { status, stdout, stderr } = await doctor(refusingDocker)
    assert.equal(status, 1)
    assert.match(stdout, /Docker engine +fail +This user may not use Docker/)
    assert.match(stderr, /→ Docker engine: sudo usermod/)
    assert.match(stderr, /Nothing was changed/)
  })

  it('names the holder of an address that a service needs', async () => {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(3000, '127.79.0.4', resolve))
    const { stdout } = await doctor(workingDocker, '--json')
    const listed = await doctor(workingDocker, '--ports')
    server.close()
    const taken = findingsOf(stdout).find(({ check }) => check === '127.79.0.4:3000')
    assert.equal(taken?.state, 'fail')
    assert.match(taken?.detail ?? '', new RegExp(`^grafana needs it; held by .+ \\(pid ${process.pid}\\)$`))
    assert.match(taken?.hint ?? '', new RegExp(`kill ${process.pid}$`))
    assert.equal(listed.status, 1)
    assert.match(listed.stdout, new RegExp(`127\\.79\\.0\\.4:3000 +grafana +taken: .+ \\(pid ${process.pid}\\)`))
    assert.match(listed.stdout, /127\.79\.0\.5:3100 +loki +free/)
  })

  it('finds all addresses free where nobody is in the way', async () => {
    const { stdout } = await doctor(workingDocker, '--json')
    const findings = findingsOf(stdout)
    assert.match(findings.find(({ check }) => check === 'Ports')?.detail ?? '', /^of (\d+) addresses \1 are free$/)
    for (const check of ['Docker engine', 'Docker Compose', 'Subnet'])
      assert.equal(findings.find(finding => finding.check === check)?.state, 'ok', check)
  })

  it('reports wrong settings as bad input, before it looks at anything', async () => {
    await writeFile(tasks.envFile, 'REGISTRY_PORT=99999\nGRAFANA=x\n')
    const { status, stderr, stdout } = await doctor(workingDocker, '--json')
    assert.equal(status, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /REGISTRY_PORT: 99999 should be a port/)
    assert.match(stderr, /GRAFANA: is not a setting/)
  })
})
