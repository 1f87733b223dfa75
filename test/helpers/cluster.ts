import assert from 'node:assert/strict'
import type { Result } from '../../lib/system/exec.ts'
import type { TestSandbox } from './sandbox.ts'

/** The applications of the catalogue. */
export const applications = ['console', 'bootstrap', 'peer1', 'peer2']
/** A kubeconfig of the user's own, with something in it that must not be touched. */
export const usersConfig = `apiVersion: v1
kind: Config
current-context: work
contexts: [{ name: work, context: { cluster: work, user: me } }]
clusters: [{ name: work, cluster: { server: https://cluster.example.com } }]
users: [{ name: me, user: { token: secret } }]
`
/** kubectl for the sandbox's own cluster, as a shell reads it. */
export const kubectl = 'kubectl --kubeconfig $MACULA_STATE_DIR/kubeconfig --context kind-macula'
/** Identities of the node, of all objects that a second run might make anew, and of the pods' containers. */
export const identities = `docker inspect --format '{{.Id}} {{.State.StartedAt}}' macula-control-plane
  ${kubectl} get deployments,pods,services,ingresses,secrets,endpointslices -A -o jsonpath='{range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.spec.clusterIP}{"\\n"}{end}' | sort
  ${kubectl} get pods -A -o jsonpath='{range .items[*]}{.status.containerStatuses[*].containerID}{"\\n"}{end}' | sort`
/** All that says which CAs this machine believes in, once its own program has put it in order. */
export const trustedCas = `
  update-ca-certificates >/dev/null 2>&1
  ls /usr/local/share/ca-certificates; ls -l /etc/ssl/certs | awk '{ print $1, $9, $10, $11 }'; sha256sum </etc/ssl/certs/ca-certificates.crt`

/** Waits with the answer until the question is there, at most two minutes. */
const terminalScript = `
  unset CI; trap '' PIPE
  folder=$(mktemp -d) && mkfifo $folder/keys
  script --quiet --return --flush --command "stty rows 40 cols 200; $TASK" $folder/said <$folder/keys >/dev/null & task=$!
  exec 3>$folder/keys
  for i in $(seq 600); do
    grep --quiet "$QUESTION" $folder/said && break
    kill -0 $task || break
    sleep 0.2
  done
  printf "$KEY" >&3
  wait $task; code=$?
  cat $folder/said; rm -r $folder
  exit $code`

/** Tasks and scripts in a sandbox that is there by the time they are run. */
export function speakingTo(sandbox: () => TestSandbox) {
  const task = (words: string, env: Record<string, string> = {}): Promise<Result> =>
    sandbox().exec(`node lib/cli/launch.mjs ${words}`, { env: { CI: '1', ...env } })
  /** What a script printed that has to succeed. */
  const text = async (script: string): Promise<string> => {
    const { exitCode, stdout, stderr } = await sandbox().exec(`set -o pipefail; ${script}`)
    assert.equal(exitCode, 0, stderr || stdout)
    return stdout.trim()
  }
  return {
    task,
    text,
    /** The image that a deployment of our own cluster names. */
    imageOf: (application: string) =>
      text(
        `${kubectl} -n macula get deployment ${application} -o jsonpath='{.spec.template.spec.containers[0].image}'`,
      ),
    /** What a task said that has to succeed. */
    async succeeds(words: string, env: Record<string, string> = {}): Promise<string> {
      const { exitCode, stdout, stderr } = await task(words, env)
      assert.equal(exitCode, 0, `${words}: ${stdout}\n${stderr}`)
      return stderr
    },
    /** What a task said that has to fail, and to know why. */
    async fails(words: string, env: Record<string, string> = {}) {
      const { exitCode, stdout, stderr } = await task(words, env)
      assert.notEqual(exitCode, 0, `${words} should have failed: ${stdout}\n${stderr}`)
      assert.doesNotMatch(stderr, /^\s+at /m)
      return { exitCode, stderr }
    },
    /** What a task said at a terminal, where somebody answers its question with one key. */
    async atTerminal(words: string, question: string, key: string, env: Record<string, string> = {}): Promise<string> {
      const { exitCode, stdout } = await sandbox().exec(terminalScript, {
        env: { ...env, TASK: `node lib/cli/launch.mjs ${words}`, QUESTION: question, KEY: key },
      })
      assert.equal(exitCode, 0, stdout)
      return stdout
    },
  }
}

/** Asks a URL over and over, four at a time, until a file appears; prints what was seen as JSON. Plain JavaScript, because it runs inside. */
const loadScript = `
import http from 'node:http'
import { existsSync } from 'node:fs'
const [url, stopFile] = process.argv.slice(2)
const times = [], errors = [], versions = new Set()
const one = () => new Promise(done => {
  const asked = performance.now()
  const request = http.get(url, { agent: false, timeout: 10000 }, response => {
    let body = ''
    response.on('data', data => { body += data })
    response.on('end', () => {
      times.push(performance.now() - asked)
      if (response.statusCode !== 200) errors.push(response.statusCode)
      versions.add(/Version ([^,]+),/.exec(body)?.[1] ?? 'none')
      done()
    })
  })
  request.on('timeout', () => request.destroy(new Error('silent')))
  request.on('error', error => { errors.push(error.message); done() })
})
const loop = async () => {
  while (!existsSync(stopFile)) {
    await one()
    await new Promise(resume => setTimeout(resume, 20))
  }
}
await Promise.all([loop(), loop(), loop(), loop()])
times.sort((a, b) => a - b)
console.log(JSON.stringify({ requests: times.length, p95: times[Math.floor(times.length * 0.95)], errors, versions: [...versions] }))`

/** What a client saw while it asked without a pause. */
export interface Load {
  requests: number
  /** Milliseconds. */
  p95: number
  errors: (string | number)[]
  /** Versions of the placeholder that answered. */
  versions: string[]
}

/** Asks a URL without a pause while `action` runs, and three seconds longer. */
export async function underLoad(sandbox: TestSandbox, url: string, action: () => Promise<void>): Promise<Load> {
  const stop = '/run/macula/stop-load'
  const input = loadScript
  const asking = sandbox.exec(
    `rm -f ${stop}; cat >/run/macula/load.mjs; exec node /run/macula/load.mjs '${url}' ${stop}`,
    {
      input,
    },
  )
  await sandbox.exec('sleep 1')
  try {
    await action()
    await sandbox.exec('sleep 3')
  } finally {
    await sandbox.exec(`touch ${stop}`)
  }
  return JSON.parse((await asking).stdout) as Load
}

/** Sends requests to an address over and over, some of them slow, until a file appears; prints what came of them as JSON. Runs inside. */
const countingScript = `
import http from 'node:http'
import { existsSync } from 'node:fs'
const [ip, host, stopFile] = process.argv.slice(2)
const count = { answered: 0, slow: 0, refused: 0, failed: [] }
let refusedSince, gapMs = 0
const one = (path, kind) => new Promise(done => {
  const failed = error => {
    if (error.code === 'ECONNREFUSED') {
      count.refused += 1
      refusedSince ??= performance.now()
      gapMs = Math.max(gapMs, performance.now() - refusedSince)
    } else count.failed.push(path + ' ' + (error.code ?? error.message))
    done()
  }
  const request = http.get({ host: ip, path, headers: { host }, agent: false, timeout: 20000 }, response => {
    let body = ''
    response.on('data', data => { body += data })
    response.on('error', failed)
    response.on('end', () => {
      refusedSince = undefined
      if (response.statusCode === 200 && body.endsWith('end')) count[kind] += 1
      else count.failed.push(path + ' ' + response.statusCode)
      done()
    })
  })
  request.on('timeout', () => request.destroy(new Error('silent')))
  request.on('error', failed)
})
const loop = async (path, kind) => {
  while (!existsSync(stopFile)) {
    await one(path, kind)
    await new Promise(resume => setTimeout(resume, 20))
  }
}
await Promise.all([loop('/', 'answered'), loop('/', 'answered'), ...Array.from({ length: 6 }, () => loop('/slow', 'slow'))])
console.log(JSON.stringify({ ...count, gapMs: Math.round(gapMs) }))`

/** What became of requests that were sent without a pause. */
export interface Counted {
  answered: number
  /** Answered, and under way for some seconds. */
  slow: number
  /** Not accepted: nothing listened. */
  refused: number
  /** Accepted, and not answered. */
  failed: string[]
  /** The longest time in which nothing listened. */
  gapMs: number
}

/** Counts what becomes of requests to `host` at an address while `action` runs, and five seconds longer. */
export async function countedDuring(
  sandbox: TestSandbox,
  ip: string,
  host: string,
  action: () => Promise<unknown>,
): Promise<Counted> {
  const stop = '/run/macula/stop-counting'
  const asking = sandbox.exec(
    `rm -f ${stop}; cat >/run/macula/counting.mjs; exec node /run/macula/counting.mjs ${ip} ${host} ${stop}`,
    { input: countingScript },
  )
  await sandbox.exec('sleep 3')
  try {
    await action()
    await sandbox.exec('sleep 5')
  } finally {
    await sandbox.exec(`touch ${stop}`)
  }
  return JSON.parse((await asking).stdout) as Counted
}

/** Ends the engine with SIGTERM and starts it again with the same words, as an update of Docker does. */
export const restartEngine = `
  pid=$(pgrep --exact dockerd | head -1)
  mapfile -d '' words </proc/$pid/cmdline
  kill $pid
  for i in $(seq 300); do kill -0 $pid 2>/dev/null || break; sleep 0.1; done
  setsid "\${words[@]}" </dev/null >>/tmp/engine-again.log 2>&1 &
  for i in $(seq 300); do docker version >/dev/null 2>&1 && exit 0; sleep 0.1; done
  exit 1`
