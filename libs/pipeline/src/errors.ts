/** One class per remedy. `code` is stable and snake_case; `cause` keeps what really happened. */

/** Trying the same thing again may help; nothing was stored unless `ambiguous` says that it may have been. */
export class Retryable extends Error {
  readonly code: string;
  readonly ambiguous: boolean;
  constructor(code: string, message: string, options: { cause?: unknown; ambiguous?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.name = 'Retryable';
    this.code = code;
    this.ambiguous = options.ambiguous ?? false;
  }
}

/** Trying again can never help; nothing was stored. */
export class Permanent extends Error {
  readonly code: string;
  constructor(code: string, message: string, options: { cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'Permanent';
    this.code = code;
  }
}

/** The other side asks for less; nothing was stored. Wait at least `afterMs` milliseconds. */
export class Overloaded extends Error {
  readonly code: string;
  readonly afterMs: number;
  constructor(code: string, message: string, afterMs: number, options: { cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'Overloaded';
    this.code = code;
    this.afterMs = afterMs;
  }
}
