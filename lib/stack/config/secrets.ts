import { createHash } from 'node:crypto'
import { fillTemplate, type RenderedFile, readTemplate } from '../../platform/render.ts'
import type { Settings } from '../../platform/settings.ts'

/** Secrets as the files that containers mount. None ends in a newline: PowerDNS-Admin would take it for a part of the secret. */
export async function secretFiles(settings: Settings): Promise<RenderedFile[]> {
  const contents: Record<string, string> = {
    grafana_password: settings.GRAFANA_PASSWORD,
    minio_root_password: settings.MINIO_ROOT_PASSWORD,
    postgres_password: settings.POSTGRES_PASSWORD,
    postgres_metrics_password: settings.POSTGRES_METRICS_PASSWORD,
    powerdns_api_key: settings.PDNS_API_KEY,
    powerdns_db_password: settings.PDNS_DB_PASSWORD,
    powerdns_admin_secret_key: settings.PDNS_ADMIN_SECRET_KEY,
    powerdns_admin_salt: bcryptSalt(settings.PDNS_ADMIN_SALT),
    powerdns_conf: fillTemplate(
      await readTemplate('powerdns/secrets.conf'),
      { apiKey: settings.PDNS_API_KEY, databasePassword: settings.PDNS_DB_PASSWORD },
      'powerdns/secrets.conf',
    ),
  }
  return Object.entries(contents).map(([name, content]) => ({ path: `secrets/${name}`, content, mode: 0o444 }))
}

/**
 * A salt in the form that bcrypt takes, made from any text. PowerDNS-Admin hashes its API keys with SALT as it is
 * (powerdnsadmin/models/api_key.py), and making a key fails where that is not `$2b$<cost>$` and 22 characters.
 */
export function bcryptSalt(text: string): string {
  const standard = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
  const bcrypt = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'
  const bytes = createHash('sha256').update(text).digest().subarray(0, 16)
  const letters = bytes.toString('base64').replace(/=+$/, '')
  return `$2b$12$${[...letters].map(letter => bcrypt[standard.indexOf(letter)]).join('')}`
}
