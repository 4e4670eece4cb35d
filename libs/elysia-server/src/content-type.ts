import { HttpError } from './http-error.ts';

export interface ContentType {
  /** Lower case, without parameters: `application/json`. */
  readonly type: string;
  /** Lower case, without quotes; undefined when not given. */
  readonly charset: string | undefined;
}

const JSON_TYPE: ContentType = { type: 'application/json', charset: undefined };
const CHARSET_PATTERN = /;\s*charset\s*=\s*"?([^\s";]+)"?/i;

/** A missing Content-Type counts as JSON. */
export function contentTypeOf(request: Request): ContentType {
  const header = request.headers.get('content-type');
  if (header === null || header === '' || header === 'application/json') return JSON_TYPE;
  const end = header.indexOf(';');
  if (end === -1) return { type: header.trim().toLowerCase(), charset: undefined };
  const charset = CHARSET_PATTERN.exec(header)?.[1]?.toLowerCase();
  return { type: header.slice(0, end).trim().toLowerCase(), charset };
}

/** The content type, which must be one of `accepted` and in UTF-8; throws 415 `unsupported_media_type` that names them. */
export function requireContentType(request: Request, accepted: readonly string[]): ContentType {
  const contentType = contentTypeOf(request);
  if (!accepted.includes(contentType.type)) {
    throw new HttpError(415, 'unsupported_media_type', `Content-Type must be one of: ${accepted.join(', ')}.`, {
      details: { accepted },
    });
  }
  const { charset } = contentType;
  if (charset !== undefined && charset !== 'utf-8' && charset !== 'utf8' && charset !== 'us-ascii') {
    throw new HttpError(415, 'unsupported_charset', 'The body must be UTF-8.', { details: { accepted: ['utf-8'] } });
  }
  return contentType;
}
