import { randomUUID } from 'node:crypto'
import { commandLine } from '../system/exec.ts'
import {
  installCommand,
  missingPackages,
  type PackageManagerName,
  packagesToInstall,
  removableOf,
  removeCommand,
  runPackageManager,
  settlePackages,
} from '../system/packages.ts'
import type { Privilege } from '../system/privilege.ts'
import { accountsFolder, restoreAccounts, saveAccounts, saveAccountsAfter } from './accounts.ts'
import { perform, type Recorder, record, type Undone, type UndoOutcome } from './recorder.ts'

/** Installs those of the packages that are missing; what comes along is recorded with them. */
export async function installPackages(
  recorder: Recorder,
  manager: PackageManagerName,
  names: readonly string[],
): Promise<'unchanged' | 'created'> {
  const { dryRun, privilege } = recorder
  if ((await missingPackages(manager, names)).length === 0) return 'unchanged'
  if (!dryRun) await settlePackages(manager, privilege)
  const missing = await missingPackages(manager, names)
  if (missing.length === 0) return 'unchanged'
  const install = installCommand(manager, missing)
  // with what comes along: the machine's own list of packages has to be as it was, too
  const all = dryRun ? missing : await packagesToInstall(manager, missing, privilege)
  // brew works as a user, and makes none
  const accounts = dryRun || manager === 'brew' ? undefined : await keepAccounts(recorder, all)
  const planned = { what: `install ${missing.join(', ')}`, command: commandLine(install) }
  await perform(recorder, { kind: 'packages', manager, names: all }, planned, () =>
    runPackageManager(manager, install, privilege),
  )
  if (accounts !== undefined) await saveAccountsAfter(accounts, privilege)
  return 'created'
}

async function keepAccounts(recorder: Recorder, packages: string[]): Promise<string> {
  const id = randomUUID()
  const folder = accountsFolder(id)
  await record(recorder, { kind: 'accounts', folder, packages }, recorder.scope, id)
  await saveAccounts(folder, recorder.privilege)
  return folder
}

/** Removes those of the packages that nothing else needs by now. */
export async function undoPackages(
  manager: PackageManagerName,
  names: readonly string[],
  privilege: Privilege,
): Promise<Undone[]> {
  await settlePackages(manager, privilege)
  const undone = await previewPackages(manager, names)
  const removable = undone.filter(({ outcome }) => outcome === 'removed').map(({ what }) => what)
  if (removable.length > 0) await runPackageManager(manager, removeCommand(manager, removable), privilege)
  return undone.map(packageNamed)
}

/** What undoPackages would do; `what` is the bare name. */
async function previewPackages(manager: PackageManagerName, names: readonly string[]): Promise<Undone[]> {
  const missing = await missingPackages(manager, names)
  const installed = names.filter(name => !missing.includes(name))
  const { needed } = await removableOf(manager, installed)
  return names.map(what => {
    const by = needed.get(what)
    if (missing.includes(what)) return { what, outcome: 'unchanged' }
    return by === undefined
      ? { what, outcome: 'removed' }
      : { what, outcome: 'kept', why: `needed by ${[...by].sort().join(', ')}` }
  })
}

/** The same for people. */
export async function previewPackageRemoval(manager: PackageManagerName, names: readonly string[]): Promise<Undone[]> {
  return (await previewPackages(manager, names)).map(packageNamed)
}

function packageNamed(undone: Undone): Undone {
  return { ...undone, what: `package ${undone.what}` }
}

/** What undoAccounts would do when the packages that can be removed are gone; whether somebody else has changed accounts, only root could tell. */
export async function previewAccounts(
  { packages }: { packages: readonly string[] },
  manager: PackageManagerName | undefined,
): Promise<UndoOutcome> {
  const undone = manager === undefined ? [] : await previewPackages(manager, packages)
  return (
    stillInstalled(undone.filter(({ outcome }) => outcome === 'kept').map(({ what }) => what)) ?? {
      outcome: 'restored',
    }
  )
}

function stillInstalled(names: readonly string[]): UndoOutcome | undefined {
  return names.length > 0 ? { outcome: 'kept', why: `still installed: ${names.join(', ')}` } : undefined
}

/** Removes the users and groups that came with packages, when those are gone. */
export async function undoAccounts(
  { folder, packages }: { folder: string; packages: readonly string[] },
  manager: PackageManagerName | undefined,
  privilege: Privilege,
): Promise<UndoOutcome> {
  const missing = manager === undefined ? packages : await missingPackages(manager, packages)
  const installed = packages.filter(name => !missing.includes(name))
  const kept = stillInstalled(installed)
  if (kept !== undefined) return kept
  const outcome = await restoreAccounts(folder, packages, privilege)
  return { outcome: outcome === 'part' ? 'our part removed' : outcome }
}
