import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Folder of this checkout. The bundle of cli/bundle.mjs keeps the answer: no other module may read `import.meta.url`. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
