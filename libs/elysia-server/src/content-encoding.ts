import { HttpError } from './http-error.ts';

export const CONTENT_ENCODINGS = ['gzip', 'deflate', 'br', 'zstd'] as const;
export type ContentEncoding = (typeof CONTENT_ENCODINGS)[number];

const ACCEPTED = CONTENT_ENCODINGS.join(', ');

/**
 * The body's encoding; undefined for none. One at most: nobody needs chains, and each link multiplies what a small body
 * can expand to. Throws 415 `unsupported_encoding`.
 */
export function contentEncodingOf(request: Request): ContentEncoding | undefined {
  const header = request.headers.get('content-encoding');
  if (header === null) return undefined;
  const codings = header
    .split(',')
    .map((coding) => coding.trim().toLowerCase())
    .filter((coding) => coding !== '' && coding !== 'identity');
  if (codings.length === 0) return undefined;
  if (codings.length > 1) throw unsupported('A body may be encoded once only.');
  const coding = codings[0] === 'x-gzip' ? 'gzip' : codings[0];
  const known = CONTENT_ENCODINGS.find((encoding) => encoding === coding);
  if (known === undefined) throw unsupported('This Content-Encoding is not known.');
  return known;
}

function unsupported(what: string): HttpError {
  return new HttpError(415, 'unsupported_encoding', `${what} Accepted: ${ACCEPTED}.`, {
    details: { accepted: CONTENT_ENCODINGS },
    // RFC 9110, 12.5.3: a 415 about the coding names those that would do.
    headers: { 'accept-encoding': ACCEPTED },
  });
}
