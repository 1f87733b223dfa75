import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { countFaults } from '../helpers/fault-table.ts'
import { noSandbox, startSandbox, type TestSandbox } from '../helpers/sandbox.ts'

// Real Compose names a project after its folder, so anybody's folder called macula is a project of our name. The engine is the sandbox's own.

const theirFolder = '/tmp/theirs/macula'
/** A project with a container, a network and a volume, and a container that kind would take for the node of a cluster called macula. */
const theirs = `
  set -e
  mkdir -p ${theirFolder} && cd ${theirFolder}
  root=$(mktemp -d) && mkdir "$root/bin" && cp /bin/sleep "$root/bin/"
  ldd /bin/sleep | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
  done
  tar -C "$root" -c . | docker import - theirs:1 >/dev/null
  rm -r "$root"
  cat >docker-compose.yml <<'EOF'
services:
  web: { image: "theirs:1", command: [sleep, "3600"], init: true, volumes: ["data:/data"] }
volumes: { data: {} }
EOF
  docker compose up --detach --pull never
  docker run --detach --init --name macula-control-plane --label io.x-k8s.kind.cluster=macula \\
    --label io.x-k8s.kind.role=control-plane theirs:1 sleep 3600`
const everything = `
  docker ps --all --no-trunc --format '{{.ID}} {{.Names}} {{.State}}' | sort
  docker ps --quiet | xargs --no-run-if-empty docker inspect --format '{{.Name}} {{.State.StartedAt}}' | sort
  docker network ls --no-trunc --format '{{.ID}} {{.Name}}' | sort
  docker volume ls --format '{{.Name}}' | sort`

describe("somebody else's project called macula on a real engine", { skip: await noSandbox() }, () => {
  let sandbox: TestSandbox
  let untouched: string
  before(async () => {
    sandbox = await startSandbox({ only: ['infrastructure'], workflow: false })
    await succeeds(theirs)
    untouched = await succeeds(everything)
  })
  after(() => sandbox?.end())

  async function succeeds(script: string): Promise<string> {
    const { exitCode, stdout, stderr } = await sandbox.exec(script)
    assert.equal(exitCode, 0, stdout + stderr)
    return stdout
  }
  /** Runs a task, after which all that is theirs has to be as it was. */
  async function leaves(words: string, variables = '') {
    const { exitCode, stdout, stderr } = await sandbox.exec(`${variables} node lib/cli/launch.mjs ${words}`)
    const now = (await succeeds(everything)).split('\n')
    const missing = untouched.split('\n').filter(line => !now.includes(line))
    countFaults('foreign containers, networks, volumes touched on a real engine', 4, missing.length)
    assert.deepEqual(missing, [], `${words}: ${stdout}${stderr}`)
    return { exitCode, said: stdout + stderr }
  }

  for (const words of [
    'start-infrastructure --yes',
    'start-infrastructure --yes --adopt',
    'stop-infrastructure --yes',
    'stop-infrastructure --yes --volumes',
  ])
    it(`is named with two ways out, and left by ${words}`, async () => {
      const { exitCode, said } = await leaves(words)
      assert.equal(exitCode, 1, said)
      assert.match(said, /container macula-web-1: Compose project macula, started from \/tmp\/theirs\/macula, created /)
      assert.match(said, /MACULA_PROJECT=\S+ in \.env/)
      assert.match(said, /docker rm --force .*macula-web-1/)
    })

  for (const words of [
    'setup-cluster --yes',
    'setup-cluster --yes --recreate',
    'stop-cluster --yes',
    'delete-cluster --yes',
  ])
    it(`keeps its node when ${words} is run, which names it with two ways out`, async () => {
      const { exitCode, said } = await leaves(words)
      assert.equal(exitCode, 1, said)
      assert.match(said, /The KinD cluster macula was not created by this installation; it stays as it is/)
      assert.match(said, /CLUSTER_NAME=another-name in \.env/)
      assert.match(said, /kind delete cluster --name macula/)
    })

  it('is named and left by teardown --volumes', async () => {
    const { exitCode, said } = await leaves('teardown --yes --volumes')
    assert.equal(exitCode, 0, said)
    assert.match(said, /container macula-web-1: .*\/tmp\/theirs\/macula.* left, not created by this installation/)
  })

  it('runs on beside ours under another project name, and is left when ours is removed with all data', async () => {
    const another = 'MACULA_PROJECT=macula-two'
    const started = await leaves('start-infrastructure --yes', another)
    assert.equal(started.exitCode, 0, started.said)
    assert.match(await succeeds('docker ps --format {{.Names}}'), /^macula-two-nginx$/m)
    const removed = await leaves('teardown --yes --volumes', another)
    assert.equal(removed.exitCode, 0, removed.said)
    assert.deepEqual(await succeeds(everything), untouched)
  })
})
