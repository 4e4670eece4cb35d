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

/**
 * What can never be taken. `rows`: something in the rows themselves, so that a part of them without the culprit may well
 * be taken. `sink`: whatever were sent (a table that is gone, a schema from a later version, a journal with a gap).
 */
export type PermanentScope = 'rows' | 'sink';

/**
 * Trying the same again can never help; nothing was stored. Who throws it decides the scope: `rows` has the block halved
 * until the rows at fault are found and become dead letters, `sink` stops the sink, so that a mistake in the setup never
 * turns a whole journal into dead letters. When in doubt it is the sink.
 */
export class Permanent extends Error {
  readonly code: string;
  readonly scope: PermanentScope;
  constructor(code: string, message: string, options: { cause?: unknown; scope?: PermanentScope } = {}) {
    super(message, { cause: options.cause });
    this.name = 'Permanent';
    this.code = code;
    this.scope = options.scope ?? 'sink';
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
