import { defineTask } from '../lib/cli/task.ts'
import { lackingTools } from '../lib/cluster/tools.ts'
import {
  chosenSecrets,
  generateSecret,
  problemWith,
  readEnvFile,
  secretQuestions,
  writeEnvFile,
} from '../lib/platform/env-file.ts'
import { defaultSettings, pathsOf, type SettingName } from '../lib/platform/settings.ts'
import { releases } from '../lib/supply/releases.ts'
import { detectHost, operatingSystems } from '../lib/system/machine.ts'

export default defineTask({
  name: 'configure',
  summary: 'Ask for passwords and the OS, and write .env',
  leaves: ['.env (mode 0600) with every setting; nothing outside the checkout'],
  undo: 'delete .env (teardown --purge does)',
  options: {
    again: { type: 'boolean', help: 'ask for everything again, also for what is set' },
  },
  async run({ options, yes, out, environment }) {
    const paths = pathsOf(environment)
    const { values, missing } = await readEnvFile(paths)
    const host = await detectHost()
    out.say(
      `This machine: ${host.name} (${host.os}), ${host.init === 'none' ? 'without a service manager' : `services started by ${host.init}`}`,
    )

    const answers = { ...values }
    const firstTime = options.again || missing.length > 0
    const asking = firstTime && out.interactive && !yes
    if (asking) {
      answers.MACULA_OS = await out.choose('Operating system', operatingSystems, values.MACULA_OS ?? 'auto')
      for (const name of chosenSecrets) {
        if (values[name] && !options.again) continue
        const enter = values[name] ? 'keep the present one' : 'generate one'
        answers[name] =
          (await out.askSecret(`${secretQuestions[name]} (Enter: ${enter})`, value => checked(name, value))) ||
          values[name] ||
          ''
      }
    }
    const { CLUSTER_TOOLS, KIND_NODE_IMAGE } = { ...(await defaultSettings()), ...values }
    const lacking = firstTime && CLUSTER_TOOLS === 'path' ? await lackingTools(KIND_NODE_IMAGE) : []
    if (lacking.length > 0 && asking) {
      const { kind, kubectl } = releases
      const question = `${lacking.join('; ')}. Install kind ${kind.version} and kubectl ${kubectl.version} into .macula/bin, or use what is on PATH?`
      answers.CLUSTER_TOOLS = await out.choose(question, ['install', 'path'], 'install')
    }
    if (lacking.length > 0 && answers.CLUSTER_TOOLS !== 'install')
      out.warn(`${lacking.join('; ')}. CLUSTER_TOOLS stays path; with install in .env, setup-cluster fetches them`)
    for (const name of missing) answers[name] ||= generateSecret()

    await out.step(`Write ${paths.envFile}`, () => writeEnvFile(paths, answers))
    out.summary(
      missing.length > 0
        ? `Passwords are in ${paths.envFile}; next: task setup`
        : `The settings are in ${paths.envFile}`,
    )
  },
})

/** Enter is always fine: it stands for a generated password. */
async function checked(name: SettingName, value: string): Promise<string | undefined> {
  return value === '' ? undefined : problemWith(name, value)
}
