import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Installation, installationLabel } from '../../platform/installation.ts'
import type { Platform, Service } from '../../platform/platform.ts'
import { type RenderedFile, writeIfChanged } from '../../platform/render.ts'
import { PlatformError } from '../../system/errors.ts'
import { $, lastLines, type Shell } from '../../system/exec.ts'
import { ensureFolder } from '../../system/files.ts'

/** How a program judges its own configuration: the command is run in its image, with the folder mounted where the service has it. */
interface Validator {
  service: string
  /** Below the state folder. */
  folder: string
  mountedAt: string
  /** Program in place of the image's own. */
  program?: string
  args: readonly string[]
}

const validators: readonly Validator[] = [
  {
    service: 'nginx',
    folder: 'config/nginx',
    mountedAt: '/etc/nginx/macula',
    program: 'nginx',
    args: ['-t', '-q', '-c', '/etc/nginx/macula/nginx.conf'],
  },
  {
    service: 'prometheus',
    folder: 'config/prometheus',
    mountedAt: '/etc/prometheus',
    program: 'promtool',
    args: ['check', 'config', '/etc/prometheus/prometheus.yml'],
  },
  {
    service: 'loki',
    folder: 'config/loki',
    mountedAt: '/etc/loki',
    args: ['-config.file=/etc/loki/loki.yml', '-verify-config'],
  },
  {
    service: 'tempo',
    folder: 'config/tempo',
    mountedAt: '/etc/tempo',
    args: ['-config.file=/etc/tempo/tempo.yml', '-config.verify'],
  },
  {
    service: 'collector',
    folder: 'config/collector',
    mountedAt: '/etc/otelcol',
    args: ['validate', '--config=/etc/otelcol/collector.yml', '--config=/etc/otelcol/local.yml'],
  },
]

/** Docker's own exit codes for a program that is not in the image, or cannot be run: it has judged nothing. */
const notRun = [125, 126, 127]

/**
 * Has each program judge its new configuration where that would replace another one on the disk. Throws with the words of those that reject theirs;
 * the working ones stay. A first start has nothing to replace, and an unchanged run costs no container. What the engine has no image of, or
 * only a placeholder, is not judged.
 */
export async function requireValidConfigs(
  platform: Platform,
  files: readonly RenderedFile[],
  installation: Installation,
  shell: Shell = $,
): Promise<void> {
  const { stateDir } = platform.paths
  const services = new Map(platform.services.map(service => [service.name, service]))
  const changed: { validator: Validator; service: Service; rendered: RenderedFile[] }[] = []
  for (const validator of validators) {
    const service = services.get(validator.service)
    const rendered = files.filter(({ path }) => path.startsWith(`${validator.folder}/`))
    if (service && (await replacesAnother(stateDir, rendered))) changed.push({ validator, service, rendered })
  }
  if (changed.length === 0) return
  const rejections = await Promise.all(
    changed.map(({ validator, service, rendered }) =>
      rejection(stateDir, validator, service, rendered, installation, shell),
    ),
  )
  const rejected = rejections.filter(text => text !== undefined)
  if (rejected.length === 0) return
  throw new PlatformError(
    `${changed.length === 1 ? 'A new configuration is' : 'New configurations are'} rejected by the programs they are for`,
    {
      why: rejected.join('\n'),
      hint: `Nothing was changed, the services go on with what they have. Correct ${platform.paths.localComposeFile}, ${platform.paths.localObservability} or .env, and run this again`,
    },
  )
}

/** Whether any of these files is on the disk, and one of them is other than there. */
async function replacesAnother(stateDir: string, files: readonly RenderedFile[]): Promise<boolean> {
  const read = ({ path }: RenderedFile) => readFile(join(stateDir, path), 'utf8').catch(() => undefined)
  const present = await Promise.all(files.map(read))
  return present.some(text => text !== undefined) && files.some(({ content }, index) => content !== present[index])
}

/** What a program says against its new configuration; undefined where it accepts it, or could not be run. */
async function rejection(
  stateDir: string,
  { folder, mountedAt, program, args }: Validator,
  { name, image }: Service,
  files: readonly RenderedFile[],
  installation: Installation,
  shell: Shell,
): Promise<string | undefined> {
  const format = '{{index .Config.Labels "macula.standin"}}'
  const inspected = await shell({ nothrow: true, timeout: '10s' })`docker image inspect --format ${format} ${image}`
  if (inspected.exitCode !== 0 || inspected.stdout.trim() === 'placeholder') return undefined
  // beside the working one: what the engine can mount there, it can mount here
  await ensureFolder(stateDir)
  const candidate = await mkdtemp(join(stateDir, 'candidate-'))
  try {
    for (const { path, content } of files) await writeIfChanged(join(candidate, path), content)
    const mount = `type=bind,source=${join(candidate, folder)},target=${mountedAt},readonly`
    const flags = ['--label', `${installationLabel}=${installation.id}`, ...(program ? ['--entrypoint', program] : [])]
    const judge = shell({ nothrow: true, timeout: '60s' })
    const { exitCode, stdout, stderr } =
      await judge`docker run --rm --pull never --network none --mount ${mount} ${flags} ${image} ${args}`
    if (exitCode === 0 || notRun.includes(exitCode ?? 0)) return undefined
    return `${name}: ${lastLines(stderr.trim() || stdout, 6)}`
  } finally {
    await rm(candidate, { recursive: true, force: true })
  }
}
