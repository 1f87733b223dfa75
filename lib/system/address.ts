/** An IPv4 address and a port. */
export interface Address {
  ip: string
  port: number
}

/** `127.0.0.4:3000` */
export function addressText({ ip, port }: Address): string {
  return `${ip}:${port}`
}
