// Two tasks at once: one holds the installation at a time, whoever is killed. The unit tests of the lock, for the table.
await import('../lib/platform/lock.test.ts')
await import('../tasks/lock.test.ts')

export {}
