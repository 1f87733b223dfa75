// What has to work on a fresh clone, before any npm package is there: plain JavaScript, nothing but Node.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/** Arguments with which `node` runs TypeScript; newer versions need none. */
export const typescriptArguments = process.features.typescript ? [] : ['--import', 'tsx']

/** Ends the process with a clear message where Node is too old. */
export function requireNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return
  process.stderr.write(
    `✗ Node ${process.versions.node} is too old: the platform needs 20.19 or newer\n  → https://nodejs.org\n`,
  )
  process.exit(2)
}

/** Installs the npm packages where they are missing or not those of the lock file. */
export function ensurePackages() {
  if (packagesAreCurrent()) return
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

// npm writes node_modules/.package-lock.json last; it lists what is installed, so an interrupted installation does not count
function packagesAreCurrent() {
  const installedFile = join(root, 'node_modules', '.package-lock.json')
  if (!existsSync(installedFile)) return false
  const wanted = packagesOf(join(root, 'package-lock.json'))
  const installed = packagesOf(installedFile)
  return Object.entries(wanted).every(
    ([path, { version, optional }]) => path === '' || optional || installed[path]?.version === version,
  )
}

function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages
}
