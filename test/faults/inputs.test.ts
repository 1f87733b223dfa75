// Every input is taken exactly, or refused with its place: the properties of the unit tests, with many more inputs.
process.env.MACULA_FAULT_RUNS ||= '10'
await import('../lib/platform/addresses.test.ts')
await import('../lib/platform/compose-file.test.ts')
await import('../lib/platform/env-text.test.ts')
await import('../lib/platform/interpolate.test.ts')
await import('../lib/platform/published.test.ts')
await import('../lib/routes/engines.test.ts')
await import('../lib/stack/compose-rule.test.ts')
await import('../templates/postgres.test.ts')
