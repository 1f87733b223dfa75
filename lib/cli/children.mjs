// The processes below us, and their end when we are interrupted. Plain JavaScript, like the launcher that needs it.
import { setTimeout as sleep } from 'node:timers/promises'
import { commandOf, processesBelow } from '../system/proc.mjs'

/** How long a process that was told to end has for it, before SIGKILL. */
const graceMs = 2000
/** A package manager that works for longer does not end at all. */
const finishMs = 300_000

/**
 * Passes a signal on to all processes below us, also those that are only just starting, and waits until they are gone: what we leave
 * running would go on behind the back of the next command. Who is still there after 2 s is killed. A package manager is not shot in the middle
 * of its work; it gets the time to finish.
 */
export async function endChildren(signal) {
  const started = Date.now()
  const signalled = new Map()
  let isTold = false
  for (;;) {
    const children = await childrenOf(process.pid)
    const busy = children.filter(child => managesPackages(child, children))
    if (busy.length > 0 && !isTold) {
      isTold = true
      process.stderr.write('  the package manager finishes first, so that nothing is half installed\n')
    }
    if (children.length === 0 || Date.now() - started > (busy.length > 0 ? finishMs : graceMs + 1000)) return
    for (const { pid } of children) {
      if (busy.some(child => child.pid === pid)) continue
      const since = signalled.get(pid)
      if (since === undefined) signalled.set(pid, Date.now())
      if (since === undefined) kill(pid, signal)
      else if (Date.now() - since > graceMs) kill(pid, 'SIGKILL')
    }
    await sleep(children.length > 0 ? 50 : 0)
  }
}

function kill(pid, signal) {
  try {
    process.kill(pid, signal)
  } catch {
    // it has ended meanwhile, or is root's, whose helper ends it
  }
}

/** Whether a process is a package manager, or was started by one. */
function managesPackages(child, all) {
  const parent = all.find(({ pid }) => pid === child.parent)
  return (
    /\b(apt-get|dpkg|dnf|rpm|pacman|zypper|apk|brew)\b/.test(child.command) ||
    (parent !== undefined && managesPackages(parent, all))
  )
}

/** All processes below one, with their command lines; those that have ended and only wait to be collected are none. */
async function childrenOf(pid) {
  if (process.platform !== 'linux') return childrenByPs(pid)
  return processesBelow(pid).map(stat => ({ ...stat, command: (commandOf(stat.pid) ?? []).join(' ') }))
}

async function childrenByPs(parent) {
  const { ps } = await import('zx/core')
  const listed = await ps.lookup()
  const all = listed
    .map(({ pid, ppid, command, arguments: words }) => ({
      pid: Number(pid),
      parent: Number(ppid),
      command: [command, ...words].join(' '),
    }))
    // without the look itself, `sh -c 'ps -lx'`
    .filter(({ command }) => !/\bps -\w+$/.test(command))
  const below = pid => all.filter(each => each.parent === pid).flatMap(each => [each, ...below(each.pid)])
  return below(parent)
}
