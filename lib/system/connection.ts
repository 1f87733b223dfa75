import { type Address, addressText } from './address.ts'
import { codeOf, PlatformError } from './errors.ts'

/** The error for a connection that did not come to its answer: refused, cut off, or ended by the signal. */
export function connectionError(error: Error, address: Address, signal: AbortSignal): PlatformError {
  const where = addressText(address)
  if (signal.aborted) {
    const why = signal.reason instanceof Error ? signal.reason.message : 'no answer in time'
    return new PlatformError(`${where}: ${why}`, { cause: error })
  }
  const words: Record<string, string> = {
    ECONNREFUSED: `nobody listens on ${where}`,
    ECONNRESET: `${where} cuts the connection`,
    EHOSTUNREACH: `${where} cannot be reached`,
    ENETUNREACH: `${where} cannot be reached`,
    EADDRNOTAVAIL: `${where} is not an address of this machine`,
    ENOTFOUND: `${address.ip} has no address`,
    EAI_AGAIN: `${address.ip} has no address: no name server answered`,
  }
  return new PlatformError(words[codeOf(error) ?? ''] ?? `${where}: ${error.message}`, { cause: error })
}
