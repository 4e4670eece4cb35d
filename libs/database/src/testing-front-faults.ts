/** What can go wrong with one request to the stand-in server. */

/**
 * - `drop_before`, `drop_after`: the connection ends before or after the statement ran
 * - `kill_before`, `kill_during`, `kill_after`: the process ends by SIGKILL (only in a process of its own)
 * - `hang_before`, `hang_after`: no answer ever comes
 * - `late_<ms>`: the statement runs so much later, even when the client has left by then, as behind a proxy
 * - `trailer_before`, `trailer_after`: status 200, and an exception (241) at the end of the body
 * - `truncate`: status 200, and the connection ends within the body
 * - `status_<n>`: a proxy answers with that status
 * - `code_<n>`: the engine answers with that exception, and did nothing
 */
export type FrontFault =
  | 'none'
  | 'drop_before'
  | 'drop_after'
  | 'kill_before'
  | 'kill_during'
  | 'kill_after'
  | 'hang_before'
  | 'hang_after'
  | `late_${number}`
  | 'trailer_before'
  | 'trailer_after'
  | 'truncate'
  | `status_${number}`
  | `code_${number}`;

/** A fault for the statements that contain `match`. */
export interface FrontRule {
  readonly fault: FrontFault;
  /** Text that the statement contains; default `INSERT INTO weir.raw_events`; '' for every statement. */
  readonly match?: string;
  /** For how many of them; default 1. Infinity as null in JSON: for all. */
  readonly times?: number | null;
}

/** Names and texts of the exceptions that are made up, as servers write them. */
const EXCEPTIONS: Readonly<Record<number, readonly [type: string, text: string]>> = {
  202: ['TOO_MANY_SIMULTANEOUS_QUERIES', 'Too many simultaneous queries. Maximum: 100'],
  225: ['NO_ZOOKEEPER', 'ZooKeeper session has been expired.'],
  241: ['MEMORY_LIMIT_EXCEEDED', '(total) memory limit exceeded: would use 9.00 GiB, maximum: 8.00 GiB'],
  242: ['TABLE_IS_READ_ONLY', 'Table is in readonly mode (replica path: /clickhouse/tables/01/weir/replicas/r1)'],
  243: ['NOT_ENOUGH_SPACE', 'Cannot reserve 1.00 MiB, not enough space'],
  252: [
    'TOO_MANY_PARTS',
    'Too many parts (3001) in table weir.raw_events. Merges are processing significantly slower than inserts',
  ],
  497: ['ACCESS_DENIED', 'writer: Not enough privileges.'],
  516: [
    'AUTHENTICATION_FAILED',
    'writer: Authentication failed: password is incorrect, or there is no user with such name.',
  ],
  999: ['KEEPER_EXCEPTION', 'Coordination error: Connection loss, path /clickhouse/tables/01/weir'],
};

export function exceptionText(code: number): string {
  const [type, text] = EXCEPTIONS[code] ?? ['UNKNOWN_EXCEPTION', 'made up'];
  return `Code: ${code}. DB::Exception: ${text}. (${type}) (version 26.7.2.1)\n`;
}

/** As servers mark an exception in mid-stream; the tag is in a header as well. */
export function exceptionTrailer(code: number, tag: string): string {
  const text = exceptionText(code);
  return `\r\n__exception__\r\n${tag}\r\n${text}${text.length} ${tag}\r\n__exception__\r\n`;
}

/** Rules in order of arrival; each serves so many statements and is then gone. */
export function createRules(): {
  add(rule: FrontRule): void;
  clear(): void;
  next(sql: string): FrontFault;
  /** How many rules still wait for a statement. */
  left(): number;
} {
  let rules: { rule: FrontRule; left: number }[] = [];
  return {
    add: (rule) => {
      rules.push({ rule, left: rule.times === null ? Number.POSITIVE_INFINITY : (rule.times ?? 1) });
    },
    clear: () => {
      rules = [];
    },
    left: () => rules.length,
    next: (sql) => {
      const found = rules.find(({ rule }) => sql.includes(rule.match ?? 'INSERT INTO weir.raw_events'));
      if (found === undefined) return 'none';
      found.left--;
      rules = rules.filter(({ left }) => left > 0);
      return found.rule.fault;
    },
  };
}
