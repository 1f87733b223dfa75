import { stat } from 'node:fs/promises'
import { answerOf } from '../stack/engine.ts'
import { releases } from '../supply/releases.ts'
import { PlatformError } from '../system/errors.ts'
import { $, type Command, failureOf, type Shell, toolPath } from '../system/exec.ts'

/** kind that installs nothing by itself and leaves containerd's registry settings to `certs.d`, as the registry wiring needs it. */
const oldestKind = [0, 27] as const
/** First kind whose node images carry that minor of Kubernetes 1; older kinds cannot start them. */
const kindOfMinor: readonly (readonly [minor: number, kind: readonly [number, number]])[] = [
  [37, [0, 33]],
  [36, [0, 32]],
  [35, [0, 31]],
]
/** kubectl that knows server-side apply as it is today and the `labels` of kustomizations. */
const oldestKubectlMinor = 27

const installHints = {
  kind: `CLUSTER_TOOLS=install in .env   # then task setup-cluster; or by hand:\nbrew install kind · pacman -S kind · apk add kind · go install sigs.k8s.io/kind@v${releases.kind.version} · https://kind.sigs.k8s.io/docs/user/quick-start/#installation`,
  kubectl:
    'CLUSTER_TOOLS=install in .env   # then task setup-cluster; or by hand:\nbrew install kubectl · pacman -S kubectl · apk add kubectl · dnf install kubernetes-client · apt install kubernetes-client · https://kubernetes.io/docs/tasks/tools/',
} as const

/** Minor of Kubernetes 1 that a node image carries, read from its tag. */
export function kubernetesMinorOf(image: string): number | undefined {
  const minor = /:v1\.(\d+)\./.exec(image)?.[1]
  return minor === undefined ? undefined : Number(minor)
}

/** The kind a node image needs. */
export function oldestKindFor(image: string): readonly [number, number] {
  const minor = kubernetesMinorOf(image) ?? 0
  return kindOfMinor.find(([first]) => minor >= first)?.[1] ?? oldestKind
}

/** Throws unless kind is installed and new enough for the node image. Returns its version. */
export async function requireKindProgram(image: string): Promise<string> {
  const stdout = await versionText('kind', () => $({ nothrow: true })`kind version --quiet`)
  const version = stdout.trim().replace(/^v/, '')
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const needed = oldestKindFor(image)
  if (major > needed[0] || (major === needed[0] && minor >= needed[1])) return version
  throw new PlatformError(`kind ${version} is too old for ${image}`, {
    why: `It needs kind ${needed.join('.')} or newer`,
    hint: installHints.kind,
  })
}

/** Throws unless kubectl is installed where `shell` runs commands, and new enough. Returns its version. */
export async function requireKubectl(shell: Shell = $): Promise<string> {
  const ask = () => shell({ nothrow: true })`kubectl version --client -o json`
  const stdout = await (shell === $ ? versionText('kubectl', ask) : outputOf('kubectl', ask()))
  const { clientVersion } = JSON.parse(stdout) as { clientVersion: { gitVersion: string } }
  const version = clientVersion.gitVersion.replace(/^v/, '')
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major > 1 || minor >= oldestKubectlMinor) return version
  throw new PlatformError(`kubectl ${version} is too old`, {
    why: `The platform needs kubectl 1.${oldestKubectlMinor} or newer`,
    hint: installHints.kubectl,
  })
}

/** Kubernetes 1.35 has left cgroup v1: its kubelet would not start, and kind would say so only after minutes. */
export async function requireCgroupFor(image: string, shell: Shell = $): Promise<void> {
  const minor = kubernetesMinorOf(image)
  if (minor === undefined || minor < 35) return
  const { exitCode, stdout } = await answerOf(shell)`docker info --format '{{.CgroupVersion}}'`
  if (exitCode !== 0 || stdout.trim() !== '1') return
  throw new PlatformError(`Kubernetes 1.${minor} does not run on this machine: Docker uses cgroup v1`, {
    why: 'Kubernetes 1.35 and newer need cgroup v2',
    hint: 'Boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or set KIND_NODE_IMAGE in .env to a kindest/node of 1.34',
  })
}

/** What programs said of their version in this run; another program, or a newer one in its place, is asked again. */
const said = new Map<string, string>()

async function versionText(name: keyof typeof installHints, ask: () => Command): Promise<string> {
  const program = await toolPath(name)
  const file = program === undefined ? undefined : await stat(program).catch(() => undefined)
  const key = `${program} ${file?.mtimeMs} ${file?.ino}`
  const text = said.get(key) ?? (await outputOf(name, ask()))
  if (file !== undefined) said.set(key, text)
  return text
}

async function outputOf(name: keyof typeof installHints, command: Command): Promise<string> {
  const result = await command.catch(() => undefined)
  if (result === undefined)
    throw new PlatformError(`${name} is not installed; the cluster needs it`, { hint: installHints[name] })
  if (result.exitCode !== 0) throw failureOf(command.cmd, result)
  return result.stdout
}
