/** What is said at the start of a service that anyone may call. */

/** Whether only this machine reaches an address that is listened on: 127.0.0.0/8, ::1 and the name localhost. */
export function isLoopback(hostname: string): boolean {
  const name = hostname.toLowerCase().replace(/^\[(.*)\]$/, '$1');
  return name === 'localhost' || name === '::1' || /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(name);
}

/** Undefined when there is nothing to warn of: tokens are needed, or nobody else can connect. */
export function anyoneMayWriteWarning(hostname: string, hasAuth: boolean): string | undefined {
  if (hasAuth || isLoopback(hostname)) return undefined;
  return (
    `Anyone who reaches ${hostname} may write events, read all of them and operate this service: JWT_SECRET is not set. ` +
    'Set it, or set HOST=127.0.0.1.'
  );
}
