import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { RenderedFile } from '../../platform/render.ts'
import { badInput, messageOf, type Problem } from '../../system/errors.ts'

/** Where the files of each kind go. Ours in the same folder have other names. */
const kinds: Readonly<Record<string, { endings: readonly string[]; to: string }>> = {
  rules: { endings: ['.yml', '.yaml'], to: 'config/prometheus/rules' },
  dashboards: { endings: ['.json'], to: 'config/grafana/dashboards' },
}
/** A configuration that the collector merges into its own. */
const pipeline = 'collector.yml'

/**
 * What the user adds to Prometheus, Grafana and the collector: `rules/*.yml`, `dashboards/*.json` and `collector.yml` of their folder, which need not
 * exist. Whether Prometheus and the collector take it is asked of them (`validate.ts`). Grafana has no such check, so a dashboard that it could not
 * load is refused here: one that is no JSON, has no title, or has the uid of another. `taken` are the dashboards that are there already. Throws with
 * all problems of the folder at once.
 */
export async function localFiles(folder: string, taken: readonly RenderedFile[]): Promise<RenderedFile[]> {
  const problems: Problem[] = []
  const files: RenderedFile[] = []
  for (const name of await namesIn(folder)) {
    const kind = kinds[name]
    if (kind) files.push(...(await filesOf(join(folder, name), kind, problems)))
    else if (name !== pipeline)
      problems.push({ where: join(folder, name), what: `is none of ${[...Object.keys(kinds), pipeline].join(', ')}` })
  }
  const dashboards = files.filter(({ path }) => path.endsWith('.json'))
  problems.push(...wrongDashboards(folder, dashboards, taken))
  if (problems.length > 0)
    throw badInput(`${folder} cannot be used`, problems, 'Nothing was changed. Correct it and run this again')
  const text = await readFile(join(folder, pipeline), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '# nothing was added\n{}\n'
    throw badInput(`${folder} cannot be used`, [{ where: join(folder, pipeline), what: error.message }])
  })
  return [...files, { path: 'config/collector/local.yml', content: text }]
}

/** Names of what is in a folder, hidden things left out; none where there is no folder. */
async function namesIn(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw badInput(`${folder} cannot be read`, [{ where: folder, what: error.message }])
  })
  return names.filter(name => !name.startsWith('.')).sort()
}

async function filesOf(
  folder: string,
  { endings, to }: { endings: readonly string[]; to: string },
  problems: Problem[],
): Promise<RenderedFile[]> {
  const names = await namesIn(folder)
  const isRead = (name: string) => endings.some(ending => name.endsWith(ending))
  for (const name of names.filter(name => !isRead(name)))
    problems.push({ where: join(folder, name), what: `its name does not end in ${endings.join(' or ')}` })
  const read = names
    .filter(isRead)
    .map(async name => ({ path: `${to}/local-${name}`, content: await readFile(join(folder, name), 'utf8') }))
  return Promise.all(read)
}

interface Dashboard {
  title?: unknown
  uid?: unknown
}

function wrongDashboards(folder: string, own: readonly RenderedFile[], taken: readonly RenderedFile[]): Problem[] {
  const uids = new Set(taken.map(({ content }) => (JSON.parse(content) as Dashboard).uid))
  return own.flatMap(({ path, content }) => {
    const where = join(folder, 'dashboards', path.replace(/^.*\/local-/, ''))
    try {
      const { title, uid } = (JSON.parse(content) ?? {}) as Dashboard
      if (typeof title !== 'string' || title === '') return [{ where, what: 'has no title' }]
      if (uid === undefined) return []
      if (uids.has(uid)) return [{ where, what: `has the uid ${uid} of another dashboard` }]
      uids.add(uid)
      return []
    } catch (error) {
      return [{ where, what: messageOf(error) }]
    }
  })
}
