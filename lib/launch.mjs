// The way in: `node lib/launch.mjs TASK [words]`. Plain JavaScript without packages, because it has to work on a fresh clone:
// it installs the npm packages where they are missing or outdated, then hands over to tasks/TASK.ts.
// The only place that touches the process: streams, exit code, signals.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const [name, ...words] = process.argv.slice(2)

requireNode()
const tasks = readdirSync(join(root, 'tasks')).map(file => file.replace(/\.ts$/, ''))
if (name === undefined || !tasks.includes(name)) {
  process.stderr.write(
    `✗ ${name === undefined ? 'No task named' : `There is no task ${name}`}\n  Tasks: ${tasks.join(', ')}\n`,
  )
  process.exit(2)
}
ensurePackages()
if (!process.features.typescript) {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx/esm/api')).href
  ;(await import(tsx)).register()
}
endWithOurChildren()
const { runTask } = await import('./task.ts')
const { default: task } = await import(pathToFileURL(join(root, 'tasks', `${name}.ts`)).href)
process.exitCode = await runTask(task, words, {
  environment: process.env,
  showHelp: text => process.stdout.write(`${text}\n`),
  createOutput: async verbose => {
    const { createOutput } = await import('./output.ts')
    const watched = process.stderr.isTTY === true && !process.env.CI
    return createOutput({
      stdout: process.stdout,
      stderr: process.stderr,
      interactive: process.stdin.isTTY === true && process.stderr.isTTY === true,
      color: watched && !process.env.NO_COLOR && process.env.TERM !== 'dumb',
      spinner: watched && !verbose,
    })
  },
})

function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  process.stderr.write(
    `✗ Node ${process.versions.node} is too old: the platform needs 20.19 or newer\n  → https://nodejs.org\n`,
  )
  process.exit(2)
}

// npm writes node_modules/.package-lock.json last, so its age tells whether an installation is complete and current
function ensurePackages() {
  const installed = join(root, 'node_modules', '.package-lock.json')
  const wanted = join(root, 'package-lock.json')
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(wanted).mtimeMs) return
  process.stderr.write('Installing npm packages (npm ci) …\n')
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
  })
  if (npm.status === 0) return
  process.stderr.write(`✗ npm ci failed\n${npm.stderr ?? npm.error}\n  → npm ci\n`)
  process.exit(1)
}

// A terminal sends Ctrl-C to the children as well; SIGTERM and SIGHUP reach only us, so we pass them on.
function endWithOurChildren() {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, async () => {
      const { ps } = await import('zx/core')
      for (const child of await ps.tree({ pid: process.pid, recursive: true })) {
        try {
          process.kill(Number(child.pid), signal)
        } catch {
          // it has ended meanwhile, which is what we want
        }
      }
      process.stderr.write('✗ Interrupted\n  → run the same command again: it goes on where this one stopped\n')
      process.exit(130)
    })
  }
}
