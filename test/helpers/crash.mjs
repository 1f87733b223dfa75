// Preloaded into a task (`node --import`): breaks it off at one moment of its journal, as exactly as a test needs it.
// CRASH_AT=N  the record with this number, counted from 1 over this run
// CRASH_BY    SIGKILL or SIGINT when the record is on the disk and its change has not begun; `torn`: SIGKILL with half of its line written;
//             `late`: SIGKILL a moment later, in the middle of a change that takes its time
import promises from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

const { CRASH_AT, CRASH_BY } = process.env
const appendFile = promises.appendFile
let records = 0

promises.appendFile = async (path, text, options) => {
  const isRecord = String(path).endsWith('/journal.jsonl') && text.includes('"kind":')
  if (isRecord) records += 1
  const isTime = records === Number(CRASH_AT)
  if (isRecord && isTime && CRASH_BY === 'torn') {
    await appendFile(path, text.slice(0, text.length / 2), options)
    process.kill(process.pid, 'SIGKILL')
  }
  await appendFile(path, text, options)
  // the second of the two files that say so
  if (!String(path).endsWith('/journal.begun') || !isTime) return
  if (CRASH_BY === 'late') setTimeout(() => process.kill(process.pid, 'SIGKILL'), 150)
  else process.kill(process.pid, CRASH_BY)
}
syncBuiltinESMExports()
