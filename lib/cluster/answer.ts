import { PlatformError } from '../system/errors.ts'
import { type HttpOptions, http } from '../system/http.ts'

/** Where a request goes: a URL, and, instead of what its name resolves to, an address; https with the CA that alone is trusted. */
export interface WebAddress extends Pick<HttpOptions, 'ip' | 'port' | 'ca'> {
  url: string
}

/** A server of ours answers within milliseconds; a busy machine takes longer. */
const requestTimeoutMs = 3000

/** Sends one GET request. Throws, with what came instead, unless the answer is 2xx. */
export async function requireOk(
  { url, ...options }: WebAddress,
  { signal, timeoutMs = requestTimeoutMs }: Pick<HttpOptions, 'signal' | 'timeoutMs'> = {},
): Promise<void> {
  const { status } = await http(url, { ...options, signal, timeoutMs })
  if (status < 200 || status >= 300) throw new PlatformError(`status ${status}`)
}
