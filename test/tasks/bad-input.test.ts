import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, beforeEach, describe, it } from 'node:test'
import { type StubbedTasks, stubbedTasks, workingDocker } from '../helpers/stub-docker.ts'

/** What docker is asked without changing anything. */
const onlyLooks =
  /^(info|ps|compose .* pull|version|network (ls|inspect)|volume (ls|inspect)|compose version|compose .* config$|(image|container) inspect)\b/

describe('bad input to a task that changes the machine', () => {
  let tasks: StubbedTasks
  let settings: string
  before(async () => {
    tasks = await stubbedTasks()
    settings = await readFile(tasks.envFile, 'utf8')
  })
  after(() => tasks.remove())
  beforeEach(async () => {
    await writeFile(tasks.envFile, settings)
    await tasks.docker(workingDocker)
  })

  /** Runs start-infrastructure, which has to refuse with one error and to change nothing; gives its words. */
  async function refused(exitCode: number): Promise<string> {
    const { status, stdout, stderr } = tasks.task('start-infrastructure', '--yes')
    assert.equal(status, exitCode, stderr)
    assert.equal(stdout, '')
    assert.doesNotMatch(stderr, /\n\s+at /, 'no stack')
    assert.equal(stderr.match(/^ {2}→ /gm)?.length, 1, `one error, with what to do: ${stderr}`)
    assert.equal(existsSync(tasks.stateDir), false, 'nothing is written')
    assert.deepEqual(
      (await tasks.calls()).filter(call => !onlyLooks.test(call)),
      [],
    )
    return stderr
  }

  const wrongSettings: [what: string, change: (text: string) => string, expected: RegExp][] = [
    ['a syntax error', text => `${text}no setting\n`, /line \d+: should read NAME=value/],
    ['an unknown key', text => `${text}GRAFANA=x\n`, /GRAFANA: is not a setting/],
    ['a port that is none', replaced('REGISTRY_PORT', '99999'), /REGISTRY_PORT: 99999 should be a port, 1 to 65535/],
    [
      'a domain with a quote',
      replaced('MACULA_DOMAIN', 'macula".local'),
      /MACULA_DOMAIN: "macula\\"\.local" should be/,
    ],
    [
      'a domain with a space',
      replaced('MACULA_DOMAIN', '"mac ula.local"'),
      /MACULA_DOMAIN: "mac ula\.local" should be/,
    ],
  ]
  for (const [what, change, expected] of wrongSettings) {
    it(`${what} in .env is named, and nothing is changed`, async () => {
      await writeFile(tasks.envFile, change(settings))
      assert.match(await refused(2), expected)
    })
  }

  it('all that is wrong in .env is named at once', async () => {
    await writeFile(
      tasks.envFile,
      wrongSettings.slice(0, 4).reduce((text, [, change]) => change(text), settings),
    )
    const words = await refused(2)
    for (const [what, , expected] of wrongSettings.slice(0, 4)) assert.match(words, expected, what)
  })

  const wrongBlocks: [what: string, block: string, expected: RegExp][] = [
    [
      'a host that another service has',
      'host: grafana, ports: [80]',
      /local\.yml:4: .*claims http:\/\/grafana\.\S+.*grafana has already/,
    ],
    [
      'a loopback address outside 127/8',
      'loopback: 10.0.0.1',
      /local\.yml:4: .*loopback should be an address of 127\.0\.0\.0\/8/,
    ],
    ['an unknown key', 'colour: red', /local\.yml:4: .*colour is not a key of x-macula; known: group, host/],
  ]
  for (const [what, block, expected] of wrongBlocks) {
    it(`${what} in an x-macula block is named with file and line`, async () => {
      await writeFile(
        tasks.localComposeFile,
        `services:\n  own:\n    image: own:1\n    x-macula: { group: data, ${block} }\n`,
      )
      const words = await refused(2).finally(() => rm(tasks.localComposeFile))
      assert.match(words, expected)
    })
  }

  const absent = "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1;;"
  const forbidden = "echo 'permission denied while trying to connect to the docker API' >&2; exit 1;;"
  const engines: [what: string, cases: string, expected: RegExp][] = [
    [
      'that does not run',
      `compose*) echo 5.6.0;; *) ${absent}`,
      /✗ Docker is not running\n.*Cannot connect.*\n.*→ sudo (systemctl start docker|service docker start)/,
    ],
    [
      'that this user may not use',
      `*) ${forbidden}`,
      /✗ This user may not use Docker\n.*\n.*→ sudo usermod --append --groups docker/,
    ],
    [
      'with Compose v1 only',
      `compose*) echo "docker: 'compose' is not a docker command." >&2; exit 1;; ${workingDocker}`,
      /✗ Docker Compose: the plugin `docker compose` is not installed\n.*→ .*docker-compose-plugin/,
    ],
  ]
  for (const [what, cases, expected] of engines) {
    it(`an engine ${what} is named with the way out`, async () => {
      await tasks.docker(cases)
      assert.match(await refused(1), expected)
    })
  }

  it('a port 80 that is taken is named with its holder', async context => {
    const server = createServer()
    const listening = new Promise<void>((resolve, reject) =>
      server.listen(80, '127.77.0.1', resolve).on('error', reject),
    )
    if (
      !(await listening.then(
        () => true,
        () => false,
      ))
    )
      return context.skip('this user may not listen on port 80')
    const words = await refused(1).finally(() => server.close())
    assert.match(words, new RegExp(`127\\.77\\.0\\.1:80.*nginx needs it; held by .+ \\(pid ${process.pid}\\)`))
    assert.match(words, new RegExp(`kill ${process.pid}`))
  })

  it('an image that cannot be pulled is named with the ways to get it', async () => {
    await tasks.docker(`
      'image inspect'*) echo 'Error: No such image: grafana/loki:3.7.6' >&2; exit 1;;
      *pull*) echo '{"error":true,"level":"error","message":"toomanyrequests: You have reached your pull rate limit"}'; exit 1;;
      ${workingDocker}`)
    const words = await refused(1)
    assert.match(words, /✗ An image could not be pulled: grafana\/loki:3\.7\.6\n {2}toomanyrequests: .*limit\n/)
    assert.match(words, /→ .*docker login.*IMAGE_MIRROR.*task images -- load/)
  })

  const rejections: [what: string, answer: string, expected: RegExp][] = [
    [
      'what Compose does not accept',
      `echo 'time="2026-11-26T10:00:00Z" level=warning msg="a warning"' >&2; echo 'services.loki.image must be a string' >&2; exit 15`,
      /✗ Docker Compose does not accept the description of the services\n {2}docker compose: services\.loki\.image must be a string\n/,
    ],
    [
      'a port that other machines reach, in a file that only Compose reads',
      `echo '{"services":{"mine":{"ports":[{"target":80,"published":"8080"}]},"loki":{"ports":[{"host_ip":"127.0.0.5"}]}}}'`,
      /✗ A service would be reachable from outside this machine\n {2}services\.mine\.ports: \{"target":80,"published":"8080"\}\n/,
    ],
    [
      'the network of the machine, in a file that only Compose reads',
      `echo '{"services":{"mine":{"network_mode":"host"}}}'`,
      /services\.mine\.network_mode: host\n/,
    ],
  ]
  for (const [what, answer, expected] of rejections)
    it(`${what} is refused, and the files of the last start stay`, async () => {
      const working = { 'docker-compose.yml': 'name: macula\n', 'docker-compose.services.yml': 'services: {}\n' }
      await mkdir(tasks.stateDir)
      for (const [name, text] of Object.entries(working)) await writeFile(join(tasks.stateDir, name), text)
      await tasks.docker(`
        'image inspect'*) echo sha256:a;;
        compose*'config --format json') ${answer};;
        ${workingDocker}`)
      try {
        const { status, stderr } = tasks.task('start-infrastructure', '--yes')
        assert.equal(status, 2, stderr)
        assert.match(stderr, expected)
        assert.doesNotMatch(stderr, /\n\s+at /)
        for (const [name, text] of Object.entries(working))
          assert.equal(await readFile(join(tasks.stateDir, name), 'utf8'), text)
        assert.deepEqual(
          (await tasks.calls()).filter(call => / up |^(rm|stop|network create|volume)/.test(call) && !/ls/.test(call)),
          [],
        )
      } finally {
        await rm(tasks.stateDir, { recursive: true })
      }
    })
})

function replaced(name: string, value: string): (text: string) => string {
  return text => text.replace(new RegExp(`^${name}=.*$`, 'm'), `${name}=${value}`)
}
