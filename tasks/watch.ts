#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import { defineTask } from '../lib/cli/task.ts'
import { type Item, itemsOf, logLines, openTerminal, overviewLines, overviewText, type View } from '../lib/cli/watch.ts'
import { clusterStatus } from '../lib/cluster/cluster-status.ts'
import { clusterLogLines } from '../lib/cluster/logs.ts'
import { acquireLock } from '../lib/platform/lock.ts'
import { loadPlatform, type Platform } from '../lib/platform/platform.ts'
import { pathsOf } from '../lib/platform/settings.ts'
import { firingAlerts } from '../lib/stack/alerts.ts'
import { lastLogLines, projectContainers } from '../lib/stack/docker.ts'
import { isWell, statusOf } from '../lib/stack/status.ts'
import { messageOf } from '../lib/system/errors.ts'
import { $, hasTool } from '../lib/system/exec.ts'

export default defineTask({
  name: 'watch',
  summary: 'Watch services, applications and alerts on one screen',
  leaves: [],
  undo: '',
  options: {},
  async run({ out, environment, onInterrupt }) {
    const platform = await loadPlatform(pathsOf(environment), environment)
    let view = await look(platform)
    if (!out.interactive || !process.stdout.isTTY) return out.result(overviewText(view, new Date()))

    const terminal = openTerminal(process.stdin, process.stdout, out.color)
    onInterrupt(async () => terminal.close())
    let selected = 0
    let message = ''
    /** What is to be restarted once y is pressed. */
    let asked: Item | undefined
    let log: { item: Item; lines: string[] } | undefined

    const draw = () => {
      const size = terminal.size()
      if (log) terminal.draw(logLines(log.item.name, log.lines, size))
      else terminal.draw(overviewLines(view, { ...size, selected, message }, new Date()))
    }
    const say = (text: string) => {
      message = text
      draw()
    }
    const refresh = async () => {
      const reading = log
      if (reading) reading.lines = await linesOf(platform, reading.item, terminal.size().rows)
      else view = await look(platform)
      selected = Math.max(0, Math.min(selected, itemsOf(view).length - 1))
      draw()
    }
    const press = async (key: string, stop: () => void) => {
      const item = itemsOf(view)[selected]
      if (key === 'ctrl-c' || key === 'q') return stop()
      if (log) {
        if (key === 'escape' || key === 'l') log = undefined
        return draw()
      }
      if (asked) {
        const { name, service } = asked
        asked = undefined
        if (key !== 'y' || !service) return say('')
        say(`Restarting ${name}`)
        return say(await restart(platform, service.name))
      }
      if (key === 'up' || key === 'k') selected = Math.max(0, selected - 1)
      if (key === 'down' || key === 'j') selected = Math.min(itemsOf(view).length - 1, selected + 1)
      message = ''
      if (key === 'l' && item) {
        log = { item, lines: [] }
        return refresh()
      }
      if (key === 'o' && item) return say(await open(item.url))
      if (key === 'r' && item) {
        if (item.service) asked = item
        message = item.service
          ? `Restart ${item.name}? y or any other key`
          : `${item.name} is restarted by task deploy-apps`
      }
      draw()
    }

    try {
      draw()
      await new Promise<void>((resolve, reject) => {
        let timer: NodeJS.Timeout
        const again = () => {
          // a look that fails is told, and the next one may not
          timer = setTimeout(
            () =>
              refresh()
                .catch(error => say(messageOf(error)))
                .finally(again),
            refreshMs,
          )
        }
        const stop = () => {
          clearTimeout(timer)
          resolve()
        }
        again()
        terminal.onKey(key => {
          if (key === undefined) draw()
          else press(key, stop).catch(error => say(messageOf(error)))
        })
        process.stdin.once('error', reject)
      })
    } finally {
      terminal.close()
    }
    // a look may be under way still, and nobody waits for what it sees
    process.stdin.unref()
  },
})

/** Between two looks; one takes about a quarter of a second. */
const refreshMs = 2000
/** As many logs and lines as leave the table on an ordinary screen. */
const shownLogs = 3
const shownLines = 4

async function look(platform: Platform): Promise<View> {
  const [services, cluster, alerts] = await Promise.all([
    statusOf(platform),
    clusterStatus(platform),
    firingAlerts(platform),
  ])
  const troubled = services.filter(service => !isWell(service) && service.state !== 'not created').slice(0, shownLogs)
  const logs = await Promise.all(
    troubled.map(async ({ name, container }) => ({
      name,
      lines: (await lastLogLines(container, shownLines)).split('\n').filter(Boolean),
    })),
  )
  return { services, cluster, alerts, logs }
}

async function linesOf(platform: Platform, { name, service }: Item, rows: number): Promise<string[]> {
  if (service) return (await lastLogLines(service.container, rows)).split('\n')
  return clusterLogLines(platform, name, rows)
}

/** Opens a page in the browser of the desktop, and says what came of it. */
async function open(url: string): Promise<string> {
  if (!/^https?:/.test(url)) return url === '' ? 'It has no page' : `No page to open: ${url}`
  const opener = (await hasTool('xdg-open')) ? 'xdg-open' : (await hasTool('open')) ? 'open' : undefined
  if (opener === undefined) return `No program here opens pages: ${url}`
  const { exitCode } = await $({ nothrow: true, timeout: '5s' })`${opener} ${url}`
  return exitCode === 0 ? `Opened ${url}` : `${opener} failed: ${url}`
}

/** Restarts a service's container, if it is ours and no other task changes the installation. */
async function restart(platform: Platform, service: string): Promise<string> {
  const wait = { task: 'watch', workflow: undefined, waitMs: 1000, onWait: () => {} }
  const release = await acquireLock(platform.paths.stateDir, wait)
  try {
    const container = (await projectContainers(platform)).find(container => container.service === service)
    if (container === undefined) return `${service} has no container: task start-infrastructure`
    await $({ timeout: '60s' })`docker restart ${container.id}`
    return `Restarted ${service}`
  } finally {
    await release()
  }
}
