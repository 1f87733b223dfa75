import { randomBytes } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'dotenv'
import { root } from '../system/checkout.ts'
import { badInput } from '../system/errors.ts'
import { writeIfChanged } from './render.ts'
import {
  defaultSettings,
  type Paths,
  readSettings,
  type SecretName,
  type SettingName,
  secretNames,
} from './settings.ts'

/** What a person is asked, and what it is for. */
export const secretQuestions: Readonly<Record<SecretName, string>> = {
  GRAFANA_PASSWORD: 'Password of Grafana (user admin)',
  MINIO_ROOT_PASSWORD: 'Password of the object store MinIO',
  POSTGRES_PASSWORD: 'Password of TimescaleDB',
  PDNS_API_KEY: 'Key of the PowerDNS API',
  PDNS_DB_PASSWORD: 'Password of the PowerDNS database',
  PDNS_ADMIN_SECRET_KEY: 'Session key of PowerDNS-Admin',
  PDNS_ADMIN_SALT: 'Token salt of PowerDNS-Admin',
}

/** Secrets a person types somewhere, and so may want to choose; the others are between the services. */
export const chosenSecrets: readonly SecretName[] = ['GRAFANA_PASSWORD', 'MINIO_ROOT_PASSWORD', 'POSTGRES_PASSWORD']

/** A random secret of 24 characters, 144 bits; only letters, digits, - and _, which need no quoting anywhere. */
export function generateSecret(): string {
  return randomBytes(18).toString('base64url')
}

/** What the settings file holds now; empty where there is none. Throws when it has mistakes other than missing secrets. */
export async function readEnvFile(
  paths: Paths,
): Promise<{ values: Partial<Record<SettingName, string>>; missing: SecretName[] }> {
  const text = await readFile(paths.envFile, 'utf8').catch(error => {
    if (error.code === 'ENOENT') return ''
    throw badInput(`${paths.envFile} cannot be read`, [{ where: paths.envFile, what: error.message }])
  })
  const values = parse(text) as Partial<Record<SettingName, string>>
  const { problems } = readSettings(text, await defaultSettings(), {})
  const isMissing = (name: string) => secretNames.some(secret => secret === name) && !values[name as SecretName]
  const mistakes = problems.filter(({ where }) => !isMissing(where))
  if (mistakes.length > 0)
    throw badInput(
      `The settings in ${paths.envFile} are not usable`,
      mistakes,
      'Correct the file; .env.example explains every key',
    )
  return { values, missing: secretNames.filter(name => !values[name]) }
}

/** Says what is wrong with a value for one setting, for a prompt that can ask again; undefined when it is good. */
export async function problemWith(name: SettingName, value: string): Promise<string | undefined> {
  const { problems } = readSettings(`${name}=${quoted(value)}`, await defaultSettings(), {})
  return problems.find(({ where }) => where === name || where === 'line 1')?.what
}

/** Writes the settings file: `.env.example` with these values in it, mode 0600. */
export async function writeEnvFile(
  paths: Paths,
  values: Partial<Record<SettingName, string>>,
): Promise<'unchanged' | 'created' | 'updated'> {
  const example = await readFile(join(root, '.env.example'), 'utf8')
  return writeIfChanged(paths.envFile, envText(example, values), 0o600)
}

/** Whether the settings file can be read by others on this machine. */
export async function isPrivate(paths: Paths): Promise<boolean> {
  return ((await stat(paths.envFile)).mode & 0o077) === 0
}

/** `.env.example` with values in place of its defaults; comments and order stay. */
export function envText(example: string, values: Partial<Record<SettingName, string>>): string {
  return example.replace(/^([A-Z_]+)=(.*)$/gm, (line, name: SettingName) => {
    const value = values[name]
    return value === undefined ? line : `${name}=${quoted(value)}`
  })
}

/** A value as dotenv reads it back; no kind of quote is needed for plain words. */
function quoted(value: string): string {
  if (/^[\w@%+:,./-]*$/.test(value)) return value
  const quote = ["'", '"', '`'].find(mark => !value.includes(mark))
  // double quotes expand \n and \r, so they come second; a value with all three kinds cannot be written
  if (quote === undefined)
    throw badInput('This value cannot be written to a .env file', [
      { where: 'value', what: 'contains all three kinds of quotes' },
    ])
  return `${quote}${value}${quote}`
}
