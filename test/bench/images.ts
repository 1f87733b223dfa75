// Runs inside a sandbox: saving the images of the platform to a file and loading them into an engine, against docker's own commands.
import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { bytes } from '../../lib/system/text.ts'
import { markdown, report } from './report.ts'
import { compare, rounds, seconds, spread, taskSeconds } from './timing.ts'

const listed = spawnSync(process.execPath, ['lib/cli/launch.mjs', 'images', '--json'], { encoding: 'utf8' }).stdout
const images = (JSON.parse(listed) as { images: { image: string }[] }).images.map(({ image }) => image)
const folder = await mkdtemp(join(tmpdir(), 'macula-bench-'))
const [ours, bare] = [join(folder, 'ours.tar'), join(folder, 'bare.tar')]
try {
  const nothing = () => undefined
  const save = await compare(
    rounds,
    nothing,
    () => taskSeconds('images', 'save', ours),
    () => seconds(['docker', 'save', '--output', bare, ...images]),
  )
  const load = await compare(
    rounds,
    nothing,
    () => taskSeconds('images', 'load', ours),
    () => seconds(['docker', 'load', '--quiet', '--input', bare]),
  )
  const sizes = await Promise.all([ours, bare].map(file => stat(file)))
  report('images', [
    '## Images in a file',
    '',
    ...markdown(
      ['seconds, median (smallest–largest)', 'ours', 'docker'],
      [
        [`save ${images.length} images`, spread(save.ours), spread(save.theirs)],
        ['load them where they are there already', spread(load.ours), spread(load.theirs)],
        ['size of the file', ...sizes.map(({ size }) => bytes(size))],
      ],
    ),
  ])
} finally {
  await rm(folder, { recursive: true, force: true })
}
