/** Name-based UUIDs (RFC 9562, version 5), so that importing the same row again gives the same event id. */
import { createHash } from 'node:crypto';

/** The namespace of event ids that Weir derives. Changing it would make every import store its rows again. */
export const EVENT_NAMESPACE = 'ddbd3963-7dde-4b93-be75-e8e39ea2d6e3';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** The UUID of a name in a namespace, in lower case. Throws a TypeError when the namespace is no UUID. */
export function uuidv5(namespace: string, name: string): string {
  if (!UUID.test(namespace)) throw new TypeError(`${JSON.stringify(namespace)} is no UUID`);
  const hash = createHash('sha1')
    .update(Buffer.from(namespace.replaceAll('-', ''), 'hex'))
    .update(name, 'utf8')
    .digest()
    .subarray(0, 16);
  hash[6] = ((hash[6] as number) & 0x0f) | 0x50;
  hash[8] = ((hash[8] as number) & 0x3f) | 0x80;
  const hex = hash.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
