/** What the process says when it ends; `weir --help` prints the same list. */
export const EXIT_CODE = {
  ok: 0,
  /** Something was rejected, or the command failed. */
  failed: 1,
  /** Arguments, a mapping or an input file that cannot be used. */
  usage: 2,
  /** The service could not be reached, or took nothing for as long as `--retry-for` allows. */
  unreachable: 3,
  /** Ctrl-C: what was confirmed until then stands. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT_CODE)[keyof typeof EXIT_CODE];

/** Ends a command with a sentence for the person. `problems` are single lines, each with its place. */
export class CommandError extends Error {
  readonly code: string;
  readonly exitCode: ExitCode;
  readonly problems: readonly string[];
  constructor(exitCode: ExitCode, code: string, message: string, options: { problems?: readonly string[] } = {}) {
    super(message);
    this.name = 'CommandError';
    this.code = code;
    this.exitCode = exitCode;
    this.problems = options.problems ?? [];
  }
}

/** An error as one line: what the environment said, without a stack. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
