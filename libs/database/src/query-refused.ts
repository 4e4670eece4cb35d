/** A query that is not run, in the words and numbers of ClickHouse, which its clients understand. */

/** https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp */
const CODES = {
  SYNTAX_ERROR: 62,
  UNKNOWN_DATABASE: 81,
  READONLY: 164,
  QUERY_IS_TOO_LARGE: 336,
  QUERY_IS_PROHIBITED: 392,
  BAD_ARGUMENTS: 36,
  NOT_IMPLEMENTED: 48,
  TOO_MANY_SIMULTANEOUS_QUERIES: 202,
  NETWORK_ERROR: 210,
  INCORRECT_DATA: 117,
  UNKNOWN_FORMAT: 73,
} as const;

export type RefusalType = keyof typeof CODES;

export class QueryRefused extends Error {
  readonly code: number;
  readonly type: RefusalType;
  constructor(type: RefusalType, message: string) {
    super(message);
    this.name = 'QueryRefused';
    this.code = CODES[type];
    this.type = type;
  }
}
