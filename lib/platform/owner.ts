import { ensureInstallation, readInstallation } from './installation.ts'
import type { Paths } from './settings.ts'

/** Who wrote something outside a checkout: an installation, and the folder of its state. */
export interface Owner {
  id: string
  /** Ids that were ours before; only known of ourselves. */
  former?: readonly string[]
  stateDir: string
}

/** The owner that a preview writes as where nothing was installed from this state folder yet. */
const notYet = '000000000000'

/** Who we are. A preview makes no installation. */
export async function ownerOf({ stateDir }: Pick<Paths, 'stateDir'>, isPreview: boolean): Promise<Owner> {
  const installation = isPreview ? await readInstallation({ stateDir }) : await ensureInstallation({ stateDir })
  return { id: installation?.id ?? notYet, former: installation?.former ?? [], stateDir }
}

/** Whether an owner is this installation, by the id it has or had. */
export function isUs(us: Owner, { id }: Owner): boolean {
  return us.id === id || (us.former?.includes(id) ?? false)
}

/** How a file names its owner, in its first comment: `Written by the Macula platform (…)`. */
export function signature({ id, stateDir }: Owner): string {
  return `installation ${id} in ${stateDir}`
}

/** The owner that a text names; undefined for one that names none. */
export function ownerIn(text: string): Owner | undefined {
  const [, id, stateDir] =
    /by the Macula platform\b.*?\(installation ([0-9a-f]{12}) in (.+?)\)(?=[.:,;]| for |$)/m.exec(text) ?? []
  return id === undefined || stateDir === undefined ? undefined : { id, stateDir }
}

/** Whether the platform wrote a text, of whichever release. */
export function isOfPlatform(text: string): boolean {
  return /^(#|<!--) (Written|Rendered) by the Macula platform\b/m.test(text)
}
