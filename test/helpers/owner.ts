import type { Owner } from '../../lib/platform/owner.ts'

/** An installation, for texts that name it. */
export const us: Owner = { id: '0123456789ab', stateDir: '/srv/macula/.macula' }

/** Another one on the same machine. */
export const them: Owner = { id: 'ba9876543210', stateDir: '/home/else/macula/.macula' }
