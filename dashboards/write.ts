// Writes templates/grafana/dashboards/*.json from the dashboards in this folder. `npm run dashboards`.
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { root } from '../lib/system/checkout.ts'
import { dashboards, fileOf } from './all.ts'

const folder = join(root, 'templates/grafana/dashboards')
const files = dashboards.map(fileOf)
for (const name of await readdir(folder))
  if (name.endsWith('.json') && !files.some(file => file.name === name)) await rm(join(folder, name))
for (const { name, content } of files) await writeFile(join(folder, name), content)
