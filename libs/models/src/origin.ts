/** What the server knows about a request, as the `metadata` of the events that came with it. */
import { METADATA_CHARS_MAX } from './cart-event.ts';
import { sanitiseText } from './sanitise.ts';

export interface EventOrigin {
  /** The server's wall clock when the event arrived, in milliseconds since 1970. */
  readonly receivedAtMs: number;
  readonly ipAddress?: string | undefined;
  readonly userAgent?: string | undefined;
  readonly referrer?: string | undefined;
}

type Filled = keyof typeof METADATA_CHARS_MAX;

/**
 * Returns a function that gives the JSON members (`"userAgent":"…","referrer":"…"`, without braces) for what `present`
 * lacks and the origin has. Values are sanitised and cut to length, never a reason to reject; empty ones are left out.
 */
export function createOriginFiller(): (origin: EventOrigin, present: object) => string {
  const userAgent = createMember('userAgent');
  const ipAddress = createMember('ipAddress');
  const referrer = createMember('referrer');

  return (origin, present) => {
    const own = present as { readonly [key in Filled]?: unknown };
    let members = own.userAgent === undefined ? userAgent(origin.userAgent) : '';
    if (own.ipAddress === undefined) members = join(members, ipAddress(origin.ipAddress));
    if (own.referrer === undefined) members = join(members, referrer(origin.referrer));
    return members;
  };
}

/** Remembers the last value: the events of a batch share one, and so do the requests of one connection. */
function createMember(name: Filled): (value: string | undefined) => string {
  let lastValue: string | undefined;
  let lastMember = '';
  return (value) => {
    if (value === lastValue) return lastMember;
    lastValue = value;
    lastMember = value === undefined || value === '' ? '' : writeMember(name, value);
    return lastMember;
  };
}

function writeMember(name: Filled, value: string): string {
  const charsMax = METADATA_CHARS_MAX[name];
  // Cut twice: before, so that a huge header costs nothing; after, because sanitising may lengthen.
  const clean = sanitiseText(value.slice(0, charsMax)).slice(0, charsMax).toWellFormed();
  return clean === '' ? '' : `"${name}":${JSON.stringify(clean)}`;
}

function join(members: string, member: string): string {
  if (member === '') return members;
  return members === '' ? member : `${members},${member}`;
}
