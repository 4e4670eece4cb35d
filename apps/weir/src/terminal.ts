/** Where a command writes, so that tests can look on. */

export interface Terminal {
  /** Results. Resolves once the bytes were taken; rejects with `EPIPE` when nobody reads any more. */
  out(chunk: string | Uint8Array): Promise<void>;
  /** Notices, progress and errors. */
  err(text: string): void;
  readonly outIsTty: boolean;
  readonly errIsTty: boolean;
  /** Width in columns when `out` is a terminal. */
  readonly columns: number | undefined;
}

export function createTerminal(stdout: NodeJS.WriteStream, stderr: NodeJS.WriteStream): Terminal {
  return {
    out: (chunk) =>
      new Promise((resolve, reject) => {
        stdout.write(chunk, (error) => (error ? reject(error) : resolve()));
      }),
    err: (text) => void stderr.write(text),
    outIsTty: stdout.isTTY === true,
    errIsTty: stderr.isTTY === true,
    columns: stdout.isTTY ? stdout.columns : undefined,
  };
}

// Control characters (ESC among them) and the marks that turn the direction of text: an event's text must not be
// able to steer the terminal of whoever looks at it.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** The text with every character that a terminal would obey written as an escape. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    if (character === '\n') return '\\n';
    if (character === '\t') return '\\t';
    if (character === '\r') return '\\r';
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

const NUMBER = new Intl.NumberFormat('en-US');

/** A count with thousands separated. */
export function formatCount(count: number): string {
  return NUMBER.format(count);
}

/** Bytes in the largest unit that leaves a number of at least 1. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}
