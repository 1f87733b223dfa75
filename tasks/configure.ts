import {
  chosenSecrets,
  generateSecret,
  problemWith,
  readEnvFile,
  secretQuestions,
  writeEnvFile,
} from '../lib/configure.ts'
import { operatingSystems, placesOf, type SettingName } from '../lib/env.ts'
import { detectHost } from '../lib/host.ts'
import { defineTask } from '../lib/task.ts'

export default defineTask({
  name: 'configure',
  summary: 'Ask for passwords and the OS, and write .env',
  leaves: ['.env (mode 0600) with every setting; nothing outside the checkout'],
  undo: 'delete .env (teardown --purge does)',
  options: {
    again: { type: 'boolean', help: 'ask for everything again, also for what is set' },
  },
  async run({ options, yes, out, environment }) {
    const places = placesOf(environment)
    const { values, missing } = await readEnvFile(places)
    const host = await detectHost()
    out.say(`This machine: ${host.name} (${host.os}), services started by ${host.init}`)

    const answers = { ...values }
    if (out.interactive && !yes && (options.again || missing.length > 0)) {
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
    for (const name of missing) answers[name] ||= generateSecret()

    await out.step(`Write ${places.envFile}`, () => writeEnvFile(places, answers))
    out.summary(
      missing.length > 0
        ? `Passwords are in ${places.envFile}; next: task setup`
        : `The settings are in ${places.envFile}`,
    )
  },
})

/** Enter is always fine: it stands for a generated password. */
async function checked(name: SettingName, value: string): Promise<string | undefined> {
  return value === '' ? undefined : problemWith(name, value)
}
