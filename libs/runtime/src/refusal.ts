/** Refusing to run: a state that only a person can change, so a restart would never help. */
/** EX_CONFIG of sysexits.h. A child that ends with it is not started again. */
export const REFUSAL_EXIT_CODE = 78;

/** Why a process cannot run, as one sentence that says what to do. Whoever catches it hands it to `refuse`. */
export class Refusal extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.name = 'Refusal';
  }
}

/** Prints the sentence to stderr and ends the process with `REFUSAL_EXIT_CODE`; a supervisor then ends everything. */
export function refuse(message: string): never {
  process.stderr.write(`${message.trimEnd()}\n`);
  process.exit(REFUSAL_EXIT_CODE);
}
