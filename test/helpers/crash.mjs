// Preloaded into a task (`node --import`): finds the moments at which it can be broken off so that it matters, and breaks it off at one of them.
// A moment is: a record of the journal is on the disk and its change has not begun; a daemon is about to be told of a change; a change was
// taken back and the journal does not say so yet; the folder of the journal is about to go.
// CRASH_LOG   file that gets a line for each moment
// CRASH_AT=N  the moment with this number, counted from 1 over this run
// CRASH_BY    SIGKILL or SIGINT; `torn`: SIGKILL with half of the journal's line written;
//             `late`: SIGKILL a moment later, in the middle of a change that takes its time
// CRASH_ON    only moments whose line has this beginning count
import childProcess from 'node:child_process'
import { appendFileSync, rmSync } from 'node:fs'
import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'

const { CRASH_AT, CRASH_BY, CRASH_LOG, CRASH_ON = '' } = process.env
const { appendFile, rm } = promises
const { spawn } = childProcess
let moments = 0

/** Counts a moment; tells whether it is the one. */
function isTime(what) {
  if (!what.startsWith(CRASH_ON)) return false
  moments += 1
  if (CRASH_LOG) appendFileSync(CRASH_LOG, `${what}\n`)
  return moments === Number(CRASH_AT)
}

function end() {
  if (CRASH_BY === 'late') setTimeout(() => process.kill(process.pid, 'SIGKILL'), 150)
  else process.kill(process.pid, CRASH_BY === 'torn' ? 'SIGKILL' : CRASH_BY)
}

/** The record that is on the disk, until its id is there, too. */
let record
promises.appendFile = async (path, text, options) => {
  const isJournal = String(path).endsWith('/journal.jsonl')
  const line =
    isJournal && /"kind":"([\w-]+)"(?:.*?"(?:path|unit|folder|manager|name|command)":("[^"]*"|\[[^\]]*))?/.exec(text)
  if (line) {
    record = `record ${line[1]} ${(line[2] ?? '').replace(/["[]/g, '').replaceAll(',', ' ')}`
    if (CRASH_BY === 'torn' && isTime(record)) {
      await appendFile(path, text.slice(0, text.length / 2), options)
      end()
    }
  }
  if (isJournal && text.includes('"undone":') && isTime('undone')) end()
  await appendFile(path, text, options)
  if (String(path).endsWith('/journal.begun') && CRASH_BY !== 'torn' && isTime(record)) end()
}

childProcess.spawn = (command, ...rest) => {
  const telling =
    /systemctl (daemon-reload|restart|try-restart|stop|reset-failed).*|nmcli general reload.*|resolvconf -u|update-ca-certificates/.exec(
      command,
    )
  if (telling && isTime(`command ${telling[0].split('\n')[0]}`)) end()
  return spawn(command, ...rest)
}

promises.rm = async (path, options) => {
  if (String(path).endsWith('/.macula') && isTime('undone: the folder')) {
    // the journal itself may be the first that goes
    rmSync(join(String(path), 'journal.jsonl'), { force: true })
    end()
  }
  return rm(path, options)
}
syncBuiltinESMExports()
