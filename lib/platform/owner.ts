import { ensureInstallation, readInstallation } from './installation.ts'
import type { Paths } from './settings.ts'

/** Who wrote something outside a checkout: an installation, and the folder of its state. */
export interface Owner {
  id: string
  /** Ids that were ours before; only known of ourselves. */
  former?: readonly string[]
  stateDir: string
}

/** The id in the commands that a preview shows where nothing was installed from this state folder yet; a person may run them by hand. */
export const byHand = '000000000000'

/** Who we are. A preview makes no installation. */
export async function ownerOf({ stateDir }: Pick<Paths, 'stateDir'>, isPreview: boolean): Promise<Owner> {
  const installation = isPreview ? await readInstallation({ stateDir }) : await ensureInstallation({ stateDir })
  return { id: installation?.id ?? byHand, former: installation?.former ?? [], stateDir }
}

/** Whether an owner is this installation, by the id it has or had. */
export function isUs(us: Owner, { id }: Owner): boolean {
  return us.id === id || (us.former?.includes(id) ?? false)
}

/** Whether a person made something from the commands that a preview of ours showed. */
export function isMadeByHand(us: Owner, { id, stateDir }: Owner): boolean {
  return id === byHand && stateDir === us.stateDir
}

/** A text as it would be with our id, where a person wrote it from the commands of a preview. */
export function withOurId(us: Owner, text: string): string {
  return text.replaceAll(signature({ ...us, id: byHand }), signature(us))
}

/** How a file names its owner, in its first comment: `Written by the Macula platform (…)`. */
export function signature({ id, stateDir }: Owner): string {
  return `installation ${id} in ${stateDir}`
}

/** The owner that a text names; undefined for one that names none. */
export function ownerIn(text: string): Owner | undefined {
  const [, id, stateDir] =
    /by the Macula platform\b.*?\(installation ([0-9a-f]{12}) in (.+)\)(?=[.:,;]| for |$)/m.exec(text) ?? []
  return id === undefined || stateDir === undefined ? undefined : { id, stateDir }
}

/** Whether the platform wrote a text, of whichever release. */
export function isOfPlatform(text: string): boolean {
  return /^(#|<!--) (Written|Rendered) by the Macula platform\b/m.test(text)
}
