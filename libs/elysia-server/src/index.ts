export { CONTENT_ENCODINGS, type ContentEncoding } from './content-encoding.ts';
export { type ContentType, contentTypeOf, requireContentType } from './content-type.ts';
export { errorResponse, HttpError, type HttpErrorOptions } from './http-error.ts';
export type { Protect, TokenPlace } from './protect.ts';
export { type ReadBodyOptions, readBody } from './read-body.ts';
export { allowTime, clientAddressOf, isHead } from './request-context.ts';
export { jsonReply, requestIdOf, traceparentOf } from './request-id.ts';
export { pathOf, queryOf } from './request-url.ts';
export {
  type BunServer,
  createElysiaServer,
  type ElysiaServer,
  type ElysiaServerOptions,
  type ElysiaServerStats,
} from './server.ts';
export { type StreamBodyOptions, streamBody } from './stream-body.ts';
export type { OpenApiOptions } from './swagger.ts';
export { BEARER_SECURITY } from './swagger-security.ts';
