// What /proc of Linux tells of processes; the one reader of it. Plain JavaScript, because the launcher needs it before any package is there.
// All of it is read synchronously: it is memory, and going through the thread pool for each of its thousands of files takes ten times as long.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export function allPids() {
  return namesIn('/proc').map(Number).filter(Number.isInteger)
}

export function statOf(pid) {
  const text = procText(`${pid}/stat`)
  if (text === undefined) return undefined
  // the name may hold spaces and brackets itself
  const end = text.lastIndexOf(')')
  const fields = text.slice(end + 2).split(' ')
  return {
    pid: Number(pid),
    name: text.slice(text.indexOf('(') + 1, end),
    state: fields[0],
    parent: Number(fields[1]),
    startTicks: fields[19],
  }
}

export function commandOf(pid) {
  return procText(`${pid}/cmdline`)?.split('\0').slice(0, -1)
}

export function linkOf(pid, name) {
  try {
    return readlinkSync(`/proc/${pid}/${name}`)
  } catch {
    return undefined // another user's, or it has ended
  }
}

export function openFilesOf(pid) {
  return namesIn(`/proc/${pid}/fd`).map(fd => linkOf(pid, `fd/${fd}`) ?? '')
}

export function procText(path) {
  try {
    return readFileSync(`/proc/${path}`, 'utf8')
  } catch {
    return undefined // it ended while we looked
  }
}

export function processesBelow(pid) {
  const all = allPids().flatMap(each => statOf(each) ?? [])
  const below = parent => all.filter(each => each.parent === parent).flatMap(each => [each, ...below(each.pid)])
  return below(pid).filter(({ state }) => state !== 'Z')
}

function namesIn(folder) {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
