/** Paths in problems: `data.items[3].price`, with keys that are no identifiers as `["a b"]`. */

const IDENTIFIER = /^[A-Za-z_$][\w$]*$/;

/** Hostile keys may be as long as the body; nobody needs more of one to find it. */
const KEY_CHARS_MAX = 64;
const PATH_CHARS_MAX = 1_024;

/** Cuts text to `max` UTF-16 units, with `…` in place of the rest. */
export function shorten(text: string, max: number = KEY_CHARS_MAX): string {
  return text.length <= max ? text : `${text.slice(0, max).toWellFormed()}…`;
}

/** Joins keys (strings) and array indexes (numbers) to a path of at most about 1,000 characters. */
export function fieldPath(segments: readonly PropertyKey[]): string {
  let path = '';
  for (const segment of segments) {
    if (path.length > PATH_CHARS_MAX) return `${path}…`;
    if (typeof segment === 'number') {
      path += `[${segment}]`;
      continue;
    }
    const key = shorten(String(segment));
    if (!IDENTIFIER.test(key)) path += `[${JSON.stringify(key)}]`;
    else path += path === '' ? key : `.${key}`;
  }
  return path;
}
