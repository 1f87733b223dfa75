import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'yaml'
import * as z from 'zod'
import { root } from '../system/checkout.ts'
import { PlatformError } from '../system/errors.ts'

/** Folder with the recipes of everything that is built where no image registry can be reached. */
export const recipesFolder = join(root, 'lib/sandbox/recipes')

const seconds = z.number().default(30)
const replaced = z.record(z.string(), z.string()).optional()
const program = z.union([
  z.strictObject({
    seconds,
    module: z.string(),
    version: z.string(),
    programs: z.record(z.string(), z.string()),
    variables: z.record(z.string(), z.string()).optional(),
    foldersAre: z.string().optional(),
    replaced,
  }),
  z.strictObject({ seconds, folder: z.string(), replaced }),
])

const image = z.strictObject({
  folder: z.string(),
  base: z.string().optional(),
  programs: z.array(z.string()).default([]),
  emptyFolders: z.array(z.string()).default([]),
  archive: z.strictObject({ file: z.string(), images: z.array(z.string()) }).optional(),
  placeholder: z.strictObject({ port: z.number(), health: z.string() }).optional(),
})

const base = z.strictObject({
  suite: z.string(),
  variant: z.enum(['minbase', 'extract']).default('minbase'),
  hooks: z.string(),
  packages: z.array(z.string()),
})

const catalogue = z.strictObject({
  bases: z.record(z.string(), base),
  images: z.record(z.string(), image),
})

export type ProgramRecipe = z.infer<typeof program>
export type ImageRecipe = z.infer<typeof image>
/** What `lib/sandbox/recipes/images.yaml` says, in its order; its comments explain the fields. */
export type ImageCatalogue = z.infer<typeof catalogue>

export async function imageCatalogue(): Promise<ImageCatalogue> {
  return catalogue.parse(parse(await readFile(join(recipesFolder, 'images.yaml'), 'utf8')))
}

/** What `lib/sandbox/recipes/programs.yaml` says. */
export async function programRecipes(): Promise<Record<string, ProgramRecipe>> {
  return z.record(z.string(), program).parse(parse(await readFile(join(recipesFolder, 'programs.yaml'), 'utf8')))
}

/** The recipe of this name. Throws when there is none. */
export async function programRecipe(name: string): Promise<ProgramRecipe> {
  const recipe = (await programRecipes())[name]
  if (!recipe)
    throw new PlatformError(`No recipe builds a program ${name}`, {
      hint: 'Recipes: lib/sandbox/recipes/programs.yaml',
    })
  return recipe
}

/** `registry.example.com:5000/a/b:1.2@sha256:…` → `registry.example.com:5000/a/b`; Docker Hub's own names without their long form. */
export function repositoryOf(image: string): string {
  return image
    .replace(/@.*$/, '')
    .replace(/:[^/:]*$/, '')
    .replace(/^(docker\.io\/)?(library\/)?/, '')
}
