import { applications } from './applications.ts'
import { cluster } from './cluster.ts'
import type { Dashboard } from './dashboard.ts'
import { dns } from './dns.ts'
import { logs } from './logs.ts'
import { nginx } from './nginx.ts'
import { objects } from './objects.ts'
import { platform } from './platform.ts'
import { postgresql } from './postgresql.ts'
import { registry } from './registry.ts'

export const dashboards: readonly Dashboard[] = [
  platform,
  applications,
  cluster,
  postgresql,
  registry,
  dns,
  nginx,
  objects,
  logs,
]

/** The file of a dashboard, as it is committed. */
export function fileOf(dashboard: Dashboard): { name: string; content: string } {
  return { name: `${dashboard.uid}.json`, content: `${JSON.stringify(dashboard, null, 2)}\n` }
}
