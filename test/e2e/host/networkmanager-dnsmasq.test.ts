import { resolverTests } from '../../helpers/resolver-tests.ts'

await resolverTests('networkmanager-dnsmasq')
