/**
 * Where a message stands in which journal. Rows have `journal` and `seq` as their last two fields, so that the end of the
 * text is enough: in a JSON object of this beginning, nothing but its own last fields can stand right before its last brace.
 */

export interface RowPosition {
  readonly journal: string;
  readonly seq: number;
}

const ROW_START = Buffer.from('{"storeId":"');
const TYPE = '","eventType":"';
const END = /,"journal":"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})","seq":([1-9]\d{0,15})\}$/;
/** Of the two last fields. */
const END_BYTES = 80;
const QUOTE = 0x22;
/** Types have no character that JSON escapes: `EVENT_TYPE_NAME` in routes.ts. */
const PLAIN_TYPE = /^[a-z][a-z0-9_]{0,63}$/;

/** Undefined: this message is none of ours. */
export function positionOf(value: Buffer): RowPosition | undefined {
  if (startsAsRow(value)) {
    const [, journal, digits] = END.exec(value.toString('latin1', Math.max(0, value.length - END_BYTES))) ?? [];
    const seq = Number(digits);
    if (journal !== undefined && Number.isSafeInteger(seq)) return { journal, seq };
  }
  const { journal, seq } = parse(value);
  const isPosition = typeof journal === 'string' && Number.isSafeInteger(seq) && (seq as number) >= 1;
  return isPosition ? { journal, seq: seq as number } : undefined;
}

/** Undefined: it has none. */
export function eventTypeOf(value: Buffer): string | undefined {
  if (startsAsRow(value)) {
    // No quote within a store's id is without a backslash, so this is the id's end.
    const at = value.indexOf(TYPE);
    const start = at + TYPE.length;
    const end = at < 0 ? -1 : value.indexOf(QUOTE, start);
    const type = end < 0 ? '' : value.toString('latin1', start, end);
    if (PLAIN_TYPE.test(type)) return type;
  }
  const { eventType } = parse(value);
  return typeof eventType === 'string' ? eventType : undefined;
}

function startsAsRow(value: Buffer): boolean {
  return value.length > ROW_START.length && value.compare(ROW_START, 0, ROW_START.length, 0, ROW_START.length) === 0;
}

const NOTHING: Readonly<Record<string, unknown>> = {};

function parse(value: Buffer): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(value.toString('utf8'));
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : NOTHING;
  } catch (error) {
    // Others may write to the topic, too, and whatever they like.
    if (error instanceof SyntaxError) return NOTHING;
    throw error;
  }
}
