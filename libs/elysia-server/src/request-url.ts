/** Paths as Bun gives them: usually behind `http://host`, sometimes bare, and whatever the peer made up. */

/** The path of a request's URL, without query; `/` when there is none. */
export function pathOf(url: string): string {
  const start = url.startsWith('/') ? 0 : url.indexOf('/', url.indexOf('://') + 3);
  if (start === -1) return '/';
  const end = endOfPath(url, start);
  return url.slice(start, end);
}

function endOfPath(url: string, start: number): number {
  for (let at = start; at < url.length; at += 1) {
    const code = url.charCodeAt(at);
    if (code === 0x3f || code === 0x23) return at;
  }
  return url.length;
}

/**
 * The parameters of a request's URL. Use it in place of `new URL(request.url)`, which throws for some hosts that a peer
 * can send, and costs more.
 */
export function queryOf(request: Request): URLSearchParams {
  const { url } = request;
  const start = url.indexOf('?');
  if (start === -1) return new URLSearchParams();
  const end = url.indexOf('#', start);
  return new URLSearchParams(url.slice(start + 1, end === -1 ? undefined : end));
}

const UNRESERVED_ESCAPE = /%(?:2[dD]|3\d|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aAeE])/g;

/** Decodes what never needed escaping (RFC 3986, 6.2.2.2): `/%65vents` is `/events`. The rest stays as it is, dots too. */
export function normalizePath(path: string): string {
  return path.replace(UNRESERVED_ESCAPE, (triplet) => String.fromCharCode(Number.parseInt(triplet.slice(1), 16)));
}
