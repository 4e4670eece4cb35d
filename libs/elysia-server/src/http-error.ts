/** The one error class whose message a client may read. */

export interface HttpErrorOptions {
  /** Shown to the client as `details`: where the problem is and what is allowed. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** Thrown anywhere in a handler, it becomes the reply. `code` is stable and snake_case. */
export class HttpError extends Error {
  readonly status: number;
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>> | undefined;
  readonly headers: Readonly<Record<string, string>> | undefined;

  constructor(status: number, code: string, message: string, options: HttpErrorOptions = {}) {
    super(message, { cause: options.cause });
    this.name = 'HttpError';
    this.status = status;
    this.code = code;
    this.details = options.details;
    this.headers = options.headers;
  }
}

/** The body of every error: `{error, message, details?, requestId}`. */
export function errorResponse(error: HttpError, requestId: string): Response {
  const body = { error: error.code, message: error.message, details: error.details, requestId };
  return new Response(JSON.stringify(body), {
    status: error.status,
    headers: { 'content-type': 'application/json', ...error.headers },
  });
}

/** What a client hears when one of our own bugs hits it: nothing about the inside. */
export function internalError(cause: unknown): HttpError {
  return new HttpError(500, 'internal_error', 'The server made a mistake. The request id names it in the log.', {
    cause,
  });
}
