import { readdir, readFile, readlink } from 'node:fs/promises'
import { childrenOf, identityOf, isSame, type ProcessIdentity } from '../../lib/system/processes.ts'

/** All that a sandbox consists of, as the machine sees it while it is up. */
export interface Footprint {
  processes: ProcessIdentity[]
  /** Like `net:[4026532178]`. */
  namespaces: Set<string>
  /** When it was taken: clock ticks since boot, of which Linux shows 100 a second. */
  ticks: number
}

/** The processes below `pid` with the namespaces they live in, apart from the machine's own. */
export async function footprintOf(pid: number): Promise<Footprint> {
  const pids = [pid]
  // grows while it is walked: children of children
  for (const parent of pids) pids.push(...childrenOf(parent))
  const own = new Set(await namespacesOf('self'))
  const [uptime] = (await readFile('/proc/uptime', 'utf8')).split(' ')
  const footprint: Footprint = { processes: [], namespaces: new Set(), ticks: Number(uptime) * 100 }
  for (const each of pids) {
    const identity = await identityOf(each)
    if (identity) footprint.processes.push(identity)
    for (const namespace of await namespacesOf(each)) if (!own.has(namespace)) footprint.namespaces.add(namespace)
  }
  return footprint
}

/** What is still there of a sandbox, in words; empty when it is gone. */
export async function leftovers(
  { processes, namespaces, ticks }: Footprint,
  cgroup: string,
  folder: string,
): Promise<string[]> {
  const found: string[] = []
  for (const process of processes) if (await isSame(process)) found.push(`process ${process.pid}`)
  for (const entry of await readdir('/proc')) {
    const identity = /^\d+$/.test(entry) ? await identityOf(Number(entry)) : undefined
    // the numbers of namespaces are given out again: somebody younger has nothing of ours
    if (!identity || Number.parseInt(identity.startTime, 10) > ticks) continue
    for (const namespace of await namespacesOf(entry))
      if (namespaces.has(namespace)) found.push(`${namespace} of ${entry}`)
  }
  for (const parent of ['', ...(await readdir('/sys/fs/cgroup'))]) {
    const names = await readdir(`/sys/fs/cgroup/${parent}`).catch((): string[] => [])
    if (names.includes(cgroup)) found.push(`cgroup ${parent}/${cgroup}`)
  }
  const mounts = await readFile('/proc/self/mountinfo', 'utf8')
  found.push(...mounts.split('\n').filter(line => line.includes(folder) || line.includes('macula')))
  return found
}

async function namespacesOf(pid: number | string): Promise<string[]> {
  const kinds = ['net', 'mnt', 'pid']
  const links = await Promise.all(kinds.map(kind => readlink(`/proc/${pid}/ns/${kind}`).catch(() => undefined)))
  return links.filter(link => link !== undefined)
}
