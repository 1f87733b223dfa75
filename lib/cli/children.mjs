// The processes below us, and their end when we are interrupted. Plain JavaScript, like the launcher that needs it.
import { readdirSync, readFileSync } from 'node:fs'

/**
 * Passes a signal on to all processes below us, also those that are only just starting, and waits until they are gone: what we leave
 * running would go on behind the back of the next command. A package manager is not shot in the middle of its work; it gets the time to finish.
 */
export async function endChildren(signal) {
  const signalled = new Set()
  const started = Date.now()
  let isTold = false
  for (;;) {
    const children = await childrenOf(process.pid)
    const busy = children.filter(child => managesPackages(child, children))
    if (busy.length > 0 && !isTold) {
      isTold = true
      process.stderr.write('  the package manager finishes first, so that nothing is half installed\n')
    }
    if (children.length === 0 || Date.now() - started > (busy.length > 0 ? 300_000 : 10_000)) return
    for (const { pid } of children) {
      if (signalled.has(pid) || busy.some(child => child.pid === pid)) continue
      signalled.add(pid)
      try {
        process.kill(pid, signal)
      } catch {
        // it has ended meanwhile, which is what we want
      }
    }
    await new Promise(resume => setTimeout(resume, 100))
  }
}

/** Whether a process is a package manager, or was started by one. */
function managesPackages(child, all) {
  const parent = all.find(({ pid }) => pid === child.parent)
  return (
    /\b(apt-get|dpkg|dnf|rpm|pacman|zypper|apk)\b/.test(child.command) ||
    (parent !== undefined && managesPackages(parent, all))
  )
}

/** All processes below one, with their command lines; those that have ended and only wait to be collected are none. */
async function childrenOf(pid) {
  const all = process.platform === 'linux' ? processesOfLinux() : await processesByPs()
  const below = []
  const add = parent => {
    for (const child of all.filter(each => each.parent === parent)) {
      below.push(child)
      add(child.pid)
    }
  }
  add(pid)
  return below
}

// /proc rather than `ps`, which a small system does not have
function processesOfLinux() {
  return readdirSync('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .flatMap(pid => {
      const stat = statOf(pid)
      return stat === undefined || stat.state === 'Z' ? [] : [{ ...stat, command: commandOf(pid) }]
    })
}

async function processesByPs() {
  const { ps } = await import('zx/core')
  const listed = await ps.lookup()
  return (
    listed
      .map(({ pid, ppid, command, arguments: words }) => ({
        pid: Number(pid),
        parent: Number(ppid),
        command: [command, ...words].join(' '),
      }))
      // without the look itself, `sh -c 'ps -lx'`
      .filter(({ command }) => !/\bps -\w+$/.test(command))
  )
}

function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
  } catch {
    return ''
  }
}

/** A process as Linux shows it; undefined elsewhere, and for a process that is gone. */
export function statOf(pid) {
  try {
    const [, name, state, parent] = /\((.*)\) (\S) (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    return { pid: Number(pid), name, state, parent: Number(parent) }
  } catch {
    return undefined
  }
}
