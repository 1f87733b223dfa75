import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { parse } from 'dotenv'
import { root } from '../system/checkout.ts'
import { badInput, type Problem } from '../system/errors.ts'
import { operatingSystems } from '../system/machine.ts'
import { hideInMessages } from '../system/secrets.ts'
import { readEnvText } from './env-text.ts'
import {
  type Check,
  domainName,
  firstLoopback,
  imageName,
  imagePrefix,
  matches,
  numberFrom,
  oneLine,
  oneOf,
  optional,
  pdnsSecret,
  plainName,
  port,
  secretOf,
  subnet,
} from './setting-checks.ts'

/** The paths this run reads and writes, and the other variables that are not settings; nothing else looks at those. */
export interface Paths {
  /** The user's settings. */
  envFile: string
  /** Everything rendered or remembered: compose file, configs, secrets, journal. */
  stateDir: string
  /** The user's own additions to the compose file; need not exist. */
  localComposeFile: string
  /** The user's own additions to the kind config; need not exist. */
  localKindFile: string
  /** The user's own rules, dashboards and pipelines; need not exist. */
  localObservability: string
  /** Downloads and builds that outlive a checkout. */
  cacheDir: string
  /** Groups of services to work with, beside infrastructure, which the others are reached through; undefined = all. */
  onlyGroups: readonly string[] | undefined
  /** Services that are not to be started yet, because their images are still being made. */
  laterServices: readonly string[]
  /** Name of the sandbox this process runs in, if it does. */
  sandbox: string | undefined
}

/**
 * Paths named by MACULA_ENV_FILE, MACULA_STATE_DIR and their like, or their defaults. Relative ones are relative to the checkout: to the working
 * directory, the same variable would make one installation in each directory that a task is run from.
 */
export function pathsOf(environment: NodeJS.ProcessEnv = process.env): Paths {
  const cacheHome = environment.XDG_CACHE_HOME ?? ''
  return {
    envFile: resolve(root, environment.MACULA_ENV_FILE || '.env'),
    stateDir: resolve(root, environment.MACULA_STATE_DIR || '.macula'),
    localComposeFile: resolve(root, environment.MACULA_LOCAL_COMPOSE || 'docker-compose.local.yml'),
    localKindFile: resolve(root, environment.MACULA_LOCAL_KIND || 'kind.local.yaml'),
    localObservability: resolve(root, environment.MACULA_LOCAL_OBSERVABILITY || 'observability.local'),
    cacheDir: join(isAbsolute(cacheHome) ? cacheHome : join(homedir(), '.cache'), 'macula'),
    onlyGroups: environment.MACULA_ONLY ? environment.MACULA_ONLY.split(',') : undefined,
    laterServices: environment.MACULA_LATER ? environment.MACULA_LATER.split(',') : [],
    sandbox: environment.MACULA_SANDBOX || undefined,
  }
}

/** Programs that the platform installed for itself; every task finds them before those of the machine. */
export function toolsFolder({ stateDir }: Pick<Paths, 'stateDir'>): string {
  return join(stateDir, 'bin')
}

const secrets = {
  GRAFANA_PASSWORD: secretOf(5),
  MINIO_ROOT_PASSWORD: secretOf(8),
  POSTGRES_PASSWORD: secretOf(1),
  POSTGRES_METRICS_PASSWORD: secretOf(8),
  PDNS_API_KEY: pdnsSecret,
  PDNS_DB_PASSWORD: pdnsSecret,
  PDNS_ADMIN_SECRET_KEY: secretOf(16),
  PDNS_ADMIN_SALT: secretOf(16),
} satisfies Record<string, Check>

const checks = {
  ...secrets,
  MACULA_DOMAIN: domainName,
  MACULA_PROJECT: matches(/^[a-z0-9][a-z0-9-]{0,30}$/, 'up to 31 lower case letters, digits and -'),
  MACULA_SUBNET: subnet,
  MACULA_LOOPBACK: firstLoopback,
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
  // ten years: beyond that the durations of some programs overflow
  METRICS_DAYS: numberFrom(1, 3650),
  METRICS_GB: numberFrom(1, 10_000),
  LOGS_DAYS: numberFrom(1, 3650),
  TRACES_DAYS: numberFrom(1, 3650),
  REGISTRY_TAGS: numberFrom(1, 1000),
  MINIO_ROOT_USER: matches(/^[\w.-]{3,64}$/, '3 to 64 letters, digits, _ . -'),
  POSTGRES_USER: plainName,
  POSTGRES_DB: plainName,
  CLUSTER: oneOf('kind', 'existing'),
  CLUSTER_CONTEXT: oneLine,
  REGISTRY: optional(imagePrefix),
  CLUSTER_TOOLS: oneOf('path', 'install'),
  CLUSTER_NAME: matches(/^[a-z0-9][a-z0-9.-]{0,48}$/, 'lower case letters, digits, . and -'),
  CLUSTER_WORKERS: matches(/^\d$/, 'a number from 0 to 9'),
  KIND_NODE_IMAGE: imageName,
  INGRESS_CONTROLLER: oneOf('nginx', 'traefik'),
  INGRESS_IMAGE: optional(imageName),
  INGRESS_HTTP_PORT: port,
  INGRESS_HTTPS_PORT: port,
  CONSOLE_SOURCE: oneLine,
  BOOTSTRAP_SOURCE: oneLine,
  PEER1_SOURCE: oneLine,
  PEER2_SOURCE: oneLine,
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

/** The documented defaults, read from `.env.example`. */
export async function defaultSettings(): Promise<Settings> {
  return parse(await readFile(join(root, '.env.example'), 'utf8')) as unknown as Settings
}

/** Says what is wrong with a value for one setting, and what to write instead; undefined for a good one. A secret is not part of the answer. */
export function problemWith(name: SettingName, value: string): string | undefined {
  return checks[name](value)
}

/** Whether a setting's value is never shown. */
export function isSecret(name: string): name is SecretName {
  return Object.hasOwn(secrets, name)
}

/** The text of the settings file; empty where there is none. Throws where it cannot be read. */
export async function readSettingsFile({ envFile }: Pick<Paths, 'envFile'>): Promise<string> {
  return readFile(envFile, 'utf8').catch(error => {
    if (error.code === 'ENOENT') return ''
    throw badInput(`${envFile} cannot be read`, [{ where: envFile, what: error.message }])
  })
}

/**
 * The settings in force: the environment over the file over the defaults.
 * From then on no message shows a secret. Throws one error (exit code 2) with all problems: lines that cannot be read, unknown keys, wrong values, missing secrets.
 */
export async function loadSettings(paths: Paths, environment: NodeJS.ProcessEnv = process.env): Promise<Settings> {
  const text = await readSettingsFile(paths)
  const { values, problems, missing } = readSettings(text, await defaultSettings(), environment)
  if (problems.length + missing.length > 0) {
    throw badInput(
      `The settings in ${paths.envFile} are not usable`,
      [...problems, ...missing.map(where => ({ where, what: 'is not set' }))],
      problems.length === 0 ? 'task configure' : 'Correct the file; .env.example explains every key',
    )
  }
  hideInMessages(secretNames.map(name => values[name]))
  return values
}

/** Settings as they were read; `missing` are the secrets that nothing sets. */
export interface ReadSettings {
  values: Settings
  problems: Problem[]
  missing: SecretName[]
}

/** Reads the text of a `.env` without touching anything; the pure half of loadSettings. An exported variable that is empty counts as not there. */
export function readSettings(text: string, defaults: Settings, environment: NodeJS.ProcessEnv): ReadSettings {
  const { entries, problems } = readEnvText(text, isSecret)
  const file = new Map(entries.map(entry => [entry.key, entry]))
  for (const { key, line } of entries)
    if (!Object.hasOwn(checks, key) && !sourcePattern.test(key))
      problems.push({ where: `line ${line}, ${key}`, what: `is not a setting${closest(key)}` })
  const given = [...entries.map(({ key, value }) => [key, value] as const), ...Object.entries(environment)]
  const ownSources = given.filter(([key, value]) => value && sourcePattern.test(key))
  const values = { ...defaults, ...Object.fromEntries(ownSources) } as Record<SettingName, string>
  const whereOf = (key: SettingName) => {
    if (environment[key]) return `${key} (environment)`
    const entry = file.get(key)
    return entry === undefined ? key : `line ${entry.line}, ${key}`
  }
  for (const key of settingNames) {
    values[key] = environment[key] || file.get(key)?.value || values[key]
    const what = values[key] === '' && isSecret(key) ? undefined : checks[key](values[key])
    if (what !== undefined) problems.push({ where: whereOf(key), what })
  }
  if (values.CLUSTER === 'existing' && values.CLUSTER_CONTEXT === '')
    problems.push({ where: whereOf('CLUSTER_CONTEXT'), what: 'is needed for CLUSTER=existing' })
  problems.push(...sharedPorts(values, defaults).map(([key, what]) => ({ where: whereOf(key), what })))
  return { values, problems, missing: secretNames.filter(name => values[name] === '') }
}

/** Settings that name a port of the first loopback address which another setting or the platform itself uses. */
function sharedPorts(values: Settings, defaults: Settings): [SettingName, string][] {
  const owners = new Map([
    [80, "the web server's port"],
    [53, "the DNS server's port"],
    [5300, "PowerDNS's port"],
  ])
  const names = ['REGISTRY_PORT', 'INGRESS_HTTP_PORT', 'INGRESS_HTTPS_PORT'] as const
  // the one that somebody has changed is the one to change
  const isOwn = (name: SettingName) => values[name] !== defaults[name]
  return [...names.filter(name => !isOwn(name)), ...names.filter(isOwn)].flatMap((name): [SettingName, string][] => {
    const port = Number(values[name])
    const owner = owners.get(port)
    owners.set(port, owner ?? name)
    return owner === undefined ? [] : [[name, `${port} is ${owner} already; both listen on ${values.MACULA_LOOPBACK}`]]
  })
}

function closest(key: string): string {
  const name = settingNames.find(
    known => known.replaceAll('_', '') === key.toUpperCase().replaceAll('_', '') || known.endsWith(`_${key}`),
  )
  return name === undefined ? '; .env.example lists them all' : `; did you mean ${name}?`
}
