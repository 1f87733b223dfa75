import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { parse } from 'dotenv'
import { root } from '../system/checkout.ts'
import { badInput, type Problem } from '../system/errors.ts'
import { operatingSystems } from '../system/machine.ts'

/** Where this run reads and writes; the only place that looks at variables which are not settings. */
export interface Paths {
  /** The user's settings. */
  envFile: string
  /** Everything rendered or remembered: compose file, configs, secrets, journal. */
  stateDir: string
  /** The user's own additions to the compose file; need not exist. */
  localComposeFile: string
  /** The user's own additions to the kind config; need not exist. */
  localKindFile: string
  /** Downloads and builds that outlive a checkout. */
  cacheDir: string
  /** Groups of services to work with, beside infrastructure, which the others are reached through; undefined = all. */
  onlyGroups: readonly string[] | undefined
  /** Services that are not to be started yet, because their images are still being made. */
  laterServices: readonly string[]
  /** Name of the sandbox this process runs in, if it does. */
  sandbox: string | undefined
}

/** Paths named by MACULA_ENV_FILE, MACULA_STATE_DIR and their like, or their defaults in the checkout. */
export function pathsOf(environment: NodeJS.ProcessEnv = process.env): Paths {
  return {
    envFile: resolve(environment.MACULA_ENV_FILE || join(root, '.env')),
    stateDir: resolve(environment.MACULA_STATE_DIR || join(root, '.macula')),
    localComposeFile: resolve(environment.MACULA_LOCAL_COMPOSE || join(root, 'docker-compose.local.yml')),
    localKindFile: resolve(environment.MACULA_LOCAL_KIND || join(root, 'kind.local.yaml')),
    cacheDir: join(environment.XDG_CACHE_HOME || join(homedir(), '.cache'), 'macula'),
    onlyGroups: environment.MACULA_ONLY ? environment.MACULA_ONLY.split(',') : undefined,
    laterServices: environment.MACULA_LATER ? environment.MACULA_LATER.split(',') : [],
    sandbox: environment.MACULA_SANDBOX || undefined,
  }
}

/** Programs that the platform installed for itself; every task finds them before those of the machine. */
export function toolsFolder({ stateDir }: Pick<Paths, 'stateDir'>): string {
  return join(stateDir, 'bin')
}

/** Says what is wrong with a value, and what to write instead; undefined for a good one. */
type Check = (value: string) => string | undefined

const matches =
  (pattern: RegExp, expected: string): Check =>
  value =>
    pattern.test(value) ? undefined : `${JSON.stringify(value)} should be ${expected}`

const oneOf = (...values: string[]): Check =>
  matches(new RegExp(`^(${values.join('|')})$`), `one of ${values.join(', ')}`)

const port: Check = value =>
  /^\d+$/.test(value) && Number(value) >= 1 && Number(value) <= 65535
    ? undefined
    : `${value} should be a port, 1 to 65535`

const optional =
  (check: Check): Check =>
  value =>
    value === '' ? undefined : check(value)

const octet = '(25[0-5]|2[0-4]\\d|1?\\d?\\d)'
const anything: Check = () => undefined
const domainName = matches(
  /^(?=.{1,190}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+$/,
  'a domain of two labels or more in lower case, like macula.local',
)
const plainName = matches(/^[A-Za-z_][A-Za-z0-9_-]{0,62}$/, 'letters, digits, _ and -, starting with a letter')
const imagePrefix = matches(/^[a-z0-9.-]+(:\d+)?(\/[a-z0-9._-]+)*$/, 'host/prefix, like mirror.example.com/hub')
const imageName = matches(/^[a-z0-9.-]+(:\d+)?(\/[a-z0-9._-]+)*(:[\w.-]+)?(@sha256:[0-9a-f]{64})?$/, 'an image name')

/** A secret: never shown; printable ASCII without spaces, so that it survives every config format it is written to. */
const secretOf =
  (minimum: number): Check =>
  value =>
    value.length < minimum
      ? `should have ${minimum} characters or more`
      : /^[\x21-\x7e]+$/.test(value)
        ? undefined
        : 'should have printable ASCII characters only, and no spaces'

/** A secret that stands in PowerDNS's configuration, where a line that ends in a backslash goes on in the next. */
const pdnsSecret: Check = value => (value.endsWith('\\') ? 'should not end with a backslash' : secretOf(8)(value))

const secrets = {
  GRAFANA_PASSWORD: secretOf(5),
  MINIO_ROOT_PASSWORD: secretOf(8),
  POSTGRES_PASSWORD: secretOf(1),
  PDNS_API_KEY: pdnsSecret,
  PDNS_DB_PASSWORD: pdnsSecret,
  PDNS_ADMIN_SECRET_KEY: secretOf(16),
  PDNS_ADMIN_SALT: secretOf(16),
} satisfies Record<string, Check>

const checks = {
  ...secrets,
  MACULA_DOMAIN: domainName,
  MACULA_PROJECT: matches(/^[a-z0-9][a-z0-9-]{0,30}$/, 'up to 31 lower case letters, digits and -'),
  MACULA_SUBNET: matches(new RegExp(`^${octet}\\.${octet}\\.0\\.0/16$`), 'a network of the form 172.23.0.0/16'),
  MACULA_LOOPBACK: value =>
    /^127\.\d+\.\d+\.\d+$/.test(value) && Number(value.split('.')[3]) <= 247
      ? undefined
      : `${value} should be an address of 127.0.0.0/8 with room for seven more`,
  REGISTRY_PORT: port,
  MACULA_OS: oneOf(...operatingSystems),
  RESOLVER: oneOf(
    'auto',
    'resolv-conf',
    'systemd-resolved',
    'networkmanager',
    'networkmanager-dnsmasq',
    'resolvconf',
    'macos',
    'wsl',
  ),
  DOCKER_DATA_ROOT: matches(/^\/[\w./-]*$/, 'an absolute path'),
  ROUTING: oneOf('auto', 'systemd', 'socat', 'publish'),
  IMAGE_MIRROR: optional(imagePrefix),
  MINIO_ROOT_USER: matches(/^[\w.-]{3,64}$/, '3 to 64 letters, digits, _ . -'),
  POSTGRES_USER: plainName,
  POSTGRES_DB: plainName,
  CLUSTER: oneOf('kind', 'existing'),
  CLUSTER_CONTEXT: anything,
  REGISTRY: optional(imagePrefix),
  CLUSTER_TOOLS: oneOf('path', 'install'),
  CLUSTER_NAME: matches(/^[a-z0-9][a-z0-9.-]{0,48}$/, 'lower case letters, digits, . and -'),
  CLUSTER_WORKERS: matches(/^\d$/, 'a number from 0 to 9'),
  KIND_NODE_IMAGE: imageName,
  INGRESS_CONTROLLER: oneOf('nginx', 'traefik'),
  INGRESS_IMAGE: optional(imageName),
  INGRESS_HTTP_PORT: port,
  INGRESS_HTTPS_PORT: port,
  CONSOLE_SOURCE: anything,
  BOOTSTRAP_SOURCE: anything,
  PEER1_SOURCE: anything,
  PEER2_SOURCE: anything,
} satisfies Record<string, Check>

export type SettingName = keyof typeof checks
export type SecretName = keyof typeof secrets

/**
 * Every setting, checked; values are the text of the file, booleans and numbers included. An application of the user's own has a source, too:
 * SHOP_SOURCE for the host `shop`.
 */
export type Settings = { readonly [K in SettingName]: string } & { readonly [source: `${string}_SOURCE`]: string }

/** Where an application of any name may have its source; whether there is such an application is known only with the compose files. */
const sourcePattern = /^[A-Z][A-Z0-9_]*_SOURCE$/

export const settingNames = Object.keys(checks) as SettingName[]
/** Settings whose values are never shown. */
export const secretNames = Object.keys(secrets) as SecretName[]

/** The documented defaults: what stands in `.env.example`. */
export async function defaultSettings(): Promise<Settings> {
  return parse(await readFile(join(root, '.env.example'), 'utf8')) as unknown as Settings
}

/**
 * The settings in force: the environment over the file over the defaults.
 * Throws one error (exit code 2) with all problems: lines that cannot be read, unknown keys, wrong values, missing secrets.
 */
export async function loadSettings(paths: Paths, environment: NodeJS.ProcessEnv = process.env): Promise<Settings> {
  const text = await readFile(paths.envFile, 'utf8').catch(error => {
    if (error.code === 'ENOENT') return ''
    throw badInput(`${paths.envFile} cannot be read`, [{ where: paths.envFile, what: error.message }])
  })
  const { values, problems } = readSettings(text, await defaultSettings(), environment)
  if (problems.length > 0) {
    throw badInput(
      `The settings in ${paths.envFile} are not usable`,
      problems,
      text === ''
        ? 'task configure'
        : 'Correct the file, or delete it and run `task configure`; .env.example explains every key',
    )
  }
  return values
}

/** Reads the text of a `.env` without touching anything; the pure half of loadSettings. */
export function readSettings(
  text: string,
  defaults: Settings,
  environment: NodeJS.ProcessEnv,
): { values: Settings; problems: Problem[] } {
  const problems = syntaxProblems(text)
  const file = parse(text)
  for (const key of Object.keys(file)) {
    if (!Object.hasOwn(checks, key) && !sourcePattern.test(key))
      problems.push({ where: key, what: `is not a setting${closest(key)}` })
  }
  const ownSources = Object.entries({ ...file, ...environment }).filter(([key]) => sourcePattern.test(key))
  const values = { ...defaults, ...Object.fromEntries(ownSources) } as Record<SettingName, string>
  for (const key of settingNames) {
    const value = environment[key] ?? file[key]
    if (value !== undefined && (value !== '' || key in secrets)) values[key] = value
    const problem = values[key] === '' && key in secrets ? 'is not set' : checks[key](values[key])
    if (problem !== undefined)
      problems.push({ where: environment[key] === undefined ? key : `${key} (environment)`, what: problem })
  }
  if (values.CLUSTER === 'existing' && values.CLUSTER_CONTEXT === '')
    problems.push({ where: 'CLUSTER_CONTEXT', what: 'is needed for CLUSTER=existing' })
  return { values, problems }
}

// dotenv skips what it does not understand, and a setting that silently is not there is the hardest kind of wrong
function syntaxProblems(text: string): Problem[] {
  const seen = new Set<string>()
  return text.split(/\r?\n/).flatMap((line, index) => {
    const where = `line ${index + 1}`
    if (/^\s*(#|$)/.test(line)) return []
    const key = /^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=/.exec(line)?.[1]
    if (key === undefined) return [{ where, what: 'should read NAME=value' }]
    if (seen.has(key)) return [{ where, what: `sets ${key} a second time` }]
    seen.add(key)
    const value = line.slice(line.indexOf('=') + 1).trim()
    const quote = /^["'`]/.exec(value)?.[0]
    return quote !== undefined && !new RegExp(`^${quote}[^${quote}]*${quote}\\s*(#.*)?$`).test(value)
      ? [{ where, what: `opens a quote (${quote}) and does not close it` }]
      : []
  })
}

function closest(key: string): string {
  const name = settingNames.find(
    known => known.replaceAll('_', '') === key.toUpperCase().replaceAll('_', '') || known.endsWith(`_${key}`),
  )
  return name === undefined ? '; .env.example lists them all' : `; did you mean ${name}?`
}
