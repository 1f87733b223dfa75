import { randomBytes } from 'node:crypto'
import { lstat, readFile, realpath, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from '../system/checkout.ts'
import { badInput, PlatformError } from '../system/errors.ts'
import { quote } from '../system/exec.ts'
import { replaceFile } from '../system/files.ts'
import { editEnvText, envValue, readEnvText } from './env-text.ts'
import {
  defaultSettings,
  isSecret,
  type Paths,
  problemWith,
  readSettings,
  readSettingsFile,
  type SecretName,
  type SettingName,
} from './settings.ts'

/** What the prompt says of each secret. */
export const secretQuestions: Readonly<Record<SecretName, string>> = {
  GRAFANA_PASSWORD: 'Password of Grafana (user admin)',
  MINIO_ROOT_PASSWORD: 'Password of the object store MinIO',
  POSTGRES_PASSWORD: 'Password of TimescaleDB',
  POSTGRES_METRICS_PASSWORD: 'Password of the role that reads the statistics of the databases',
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

/** What the settings file sets now, and which secrets it lacks. Throws (exit code 2) with every mistake in it. */
export async function readEnvFile(
  paths: Paths,
): Promise<{ values: Partial<Record<SettingName, string>>; missing: SecretName[] }> {
  const text = await readSettingsFile(paths)
  const { problems, missing } = readSettings(text, await defaultSettings(), {})
  if (problems.length > 0)
    throw badInput(
      `The settings in ${paths.envFile} are not usable`,
      problems,
      'Correct the file; .env.example explains every key',
    )
  const values = Object.fromEntries(readEnvText(text, isSecret).entries.map(({ key, value }) => [key, value]))
  return { values, missing }
}

/** What is wrong with a value that is to be written to the settings file; undefined for a good one. */
export function problemWithAnswer(name: SettingName, value: string): string | undefined {
  if (envValue(value) === undefined)
    return 'cannot be written to a .env file: with # in it, it should not end with a backslash, nor have all three kinds of quotes'
  return problemWith(name, value)
}

/**
 * Sets values in the settings file. A file that is there is edited: only lines whose value differs change, its owner, mode and links stay.
 * Otherwise it is created from `.env.example`, mode 0600. Throws where the file is a link to nothing.
 */
export async function writeEnvFile(
  paths: Paths,
  values: Partial<Record<SettingName, string>>,
): Promise<'unchanged' | 'created' | 'updated'> {
  const example = await readFile(join(root, '.env.example'), 'utf8')
  const found = await settingsTarget(paths)
  if (found === undefined) {
    await replaceFile(paths.envFile, editEnvText(example, values, example), { mode: 0o600 })
    return 'created'
  }
  const before = await readFile(found.path, 'utf8')
  const after = editEnvText(before, values, example)
  if (after === before) return 'unchanged'
  await replaceFile(found.path, after, found)
  return 'updated'
}

/** The warning for a settings file that other users can read, with the command that closes it; undefined for a private file and for none. */
export async function exposureOf({
  envFile,
}: Pick<Paths, 'envFile'>): Promise<{ detail: string; hint: string } | undefined> {
  const mode = await stat(envFile).then(
    stats => stats.mode & 0o777,
    () => 0,
  )
  if ((mode & 0o077) === 0) return undefined
  return {
    detail: `${envFile} holds passwords, and other users of this machine can read it (mode ${mode.toString(8).padStart(4, '0')})`,
    hint: `chmod 600 ${quote(envFile)}`,
  }
}

interface Target {
  /** The file itself, links followed. */
  path: string
  mode: number
  owner: { uid: number; gid: number }
}

async function settingsTarget({ envFile }: Paths): Promise<Target | undefined> {
  const found = await lstat(envFile).catch(() => undefined)
  if (found === undefined) return undefined
  try {
    // only where it is one: a sandbox's file, seen from outside below /proc/PID/root, cannot be resolved to one path
    const path = found.isSymbolicLink() ? await realpath(envFile) : envFile
    const { mode, uid, gid } = await stat(path)
    return { path, mode: mode & 0o7777, owner: { uid, gid } }
  } catch (error) {
    throw new PlatformError(`${envFile} is a link to a file that does not exist`, {
      hint: `Create the file that it names, or remove the link: rm ${quote(envFile)}`,
      cause: error,
    })
  }
}
