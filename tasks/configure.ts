#!/usr/bin/env -S sh -c 'exec node "$(dirname "$0")/../lib/cli/launch.mjs" "$0" "$@"'
import type { Output } from '../lib/cli/output.ts'
import { defineTask } from '../lib/cli/task.ts'
import { lackingTools } from '../lib/cluster/tools.ts'
import {
  chosenSecrets,
  exposureOf,
  generateSecret,
  problemWithAnswer,
  readEnvFile,
  secretQuestions,
  writeEnvFile,
} from '../lib/platform/env-file.ts'
import { defaultSettings, pathsOf, type Settings } from '../lib/platform/settings.ts'
import { releases } from '../lib/supply/releases.ts'
import { detectHost, operatingSystems } from '../lib/system/machine.ts'

type Answers = { -readonly [K in keyof Settings]?: string }

export default defineTask({
  name: 'configure',
  summary: 'Prompt for passwords and the OS, and write .env',
  leaves: ['.env, created with mode 0600; in one that exists, only what was prompted for or missing'],
  undo: 'delete .env (teardown --purge does)',
  options: {
    again: { type: 'boolean', help: 'prompt for everything again, also for what is set' },
  },
  async run({ options, yes, out, environment }) {
    const paths = pathsOf(environment)
    const again = options.again ?? false
    const { values, missing } = await readEnvFile(paths)
    const { name, os, init } = await detectHost()
    out.say(`This machine: ${name} (${os}), ${init === 'none' ? 'no service manager' : `service manager ${init}`}`)

    const isFirstTime = again || missing.length > 0
    const prompts = isFirstTime && out.interactive && !yes
    const answers: Answers = {}
    if (prompts) Object.assign(answers, await promptForSettings(values, again, out))
    if (isFirstTime) Object.assign(answers, await chooseClusterTools(values, prompts, out))
    for (const secret of missing) answers[secret] ||= generateSecret()

    await out.step(`Write ${paths.envFile}`, () => writeEnvFile(paths, answers))
    const exposure = await exposureOf(paths)
    if (exposure) out.warn(`${exposure.detail}: ${exposure.hint}`)
    out.summary(
      missing.length > 0
        ? `Passwords are in ${paths.envFile}; next: task setup`
        : `The settings are in ${paths.envFile}`,
    )
  },
})

/** The operating system, and the passwords that a person types somewhere. Enter keeps a password, or generates one where there is none. */
async function promptForSettings(values: Answers, again: boolean, out: Output): Promise<Answers> {
  const answers: Answers = {}
  answers.MACULA_OS = await out.choose('Operating system', operatingSystems, values.MACULA_OS ?? 'auto')
  for (const secret of chosenSecrets.filter(secret => again || !values[secret])) {
    const enter = values[secret] ? 'keep the current one' : 'generate one'
    const answer = await out.promptSecret(`${secretQuestions[secret]} (Enter: ${enter})`, async value =>
      value === '' ? undefined : problemWithAnswer(secret, value),
    )
    if (answer !== '') answers[secret] = answer
  }
  return answers
}

/** Where kind or kubectl is missing or too old: whether setup-cluster is to fetch them. Without a prompt this is the user's to decide, later. */
async function chooseClusterTools(values: Answers, prompts: boolean, out: Output): Promise<Answers> {
  const { CLUSTER_TOOLS, KIND_NODE_IMAGE } = { ...(await defaultSettings()), ...values }
  const lacking = CLUSTER_TOOLS === 'path' ? await lackingTools(KIND_NODE_IMAGE) : []
  if (lacking.length === 0) return {}
  const { kind, kubectl } = releases
  const question = `${lacking.join('; ')}. Install kind ${kind.version} and kubectl ${kubectl.version} into .macula/bin, or use what is on PATH?`
  const choice = prompts ? await out.choose(question, ['install', 'path'], 'install') : CLUSTER_TOOLS
  if (choice !== 'install')
    out.warn(`${lacking.join('; ')}. CLUSTER_TOOLS stays path; with install in .env, setup-cluster fetches them`)
  return prompts ? { CLUSTER_TOOLS: choice } : {}
}
