/** What the writers of a run sent, and what they were told: the promises that the store is held against. */
import type { SentEvent } from './events.ts';

export type Answer =
  /** `level`: the durability that the reply names. `isLocal`: the reply says that Redis was not asked (`deduplication`). */
  | { readonly kind: 'accepted'; readonly position?: string; readonly level?: string; readonly isLocal?: boolean }
  | { readonly kind: 'duplicate'; readonly position?: string; readonly level?: string }
  | { readonly kind: 'rejected' }
  /** To be sent again: the service said so. */
  | { readonly kind: 'retry'; readonly code: string; readonly message: string };

/** The accepted events of one connection and session, in the order in which they were sent. */
export interface OrderLog {
  accepted(order: number, position: string): void;
  /** Positions in order of sending. */
  positions(): readonly string[];
}

export interface Entry {
  readonly digest: bigint | undefined;
  /** Somebody was told that it is on disk, by an ack or as a duplicate. */
  promised: boolean;
  /** Where it was said to stand; one place in a journal. */
  readonly positions: string[];
  /** A reply that accepted it said that Redis was not asked. */
  wasLocal: boolean;
}

/** Events that were sent once, together: `none` of them may be stored, or either all or none. */
export interface AtomicBatch {
  readonly keys: readonly string[];
  readonly may: 'none' | 'all or none';
}

export interface Ledger {
  sent(event: SentEvent): void;
  answered(event: SentEvent, answer: Answer): void;
  /** Something that no reply may be. */
  broke(sentence: string): void;
  newOrder(name: string): OrderLog;
  sentTogether(batch: AtomicBatch): void;
  together(): readonly AtomicBatch[];
  entries(): ReadonlyMap<string, Entry>;
  /** Some of the promised events, from the whole run. */
  sample(): readonly SentEvent[];
  orders(): ReadonlyMap<string, OrderLog>;
  /** Broken promises that showed in the answers alone. */
  broken(): readonly string[];
  counts(): Readonly<Record<Answer['kind'] | 'sent' | 'local', number>>;
  /** Answers `retry`, by their code. */
  retries(): Readonly<Record<string, number>>;
  /** The same as sentences, by code and message. `but`: codes that are no news. */
  refusals(but?: ReadonlySet<string>): string[];
}

const SAMPLE_EVERY = 20;
const SAMPLE_MAX = 4_000;

export function createLedger(): Ledger {
  const entries = new Map<string, Entry>();
  const orders = new Map<string, OrderLog>();
  const broken: string[] = [];
  const batches: AtomicBatch[] = [];
  const sampled: SentEvent[] = [];
  const retries: Record<string, number> = {};
  const reasons = new Map<string, { readonly code: string; readonly count: number }>();
  const counts = { sent: 0, accepted: 0, duplicate: 0, rejected: 0, retry: 0, local: 0 };

  function sent(event: SentEvent): void {
    counts.sent += 1;
    if (counts.sent % SAMPLE_EVERY === 0 && sampled.length < SAMPLE_MAX) sampled.push(event);
    if (entries.has(event.key)) return;
    entries.set(event.key, { digest: event.digest, promised: false, positions: [], wasLocal: false });
  }

  function answered(event: SentEvent, answer: Answer): void {
    counts[answer.kind] += 1;
    const entry = entries.get(event.key);
    if (entry === undefined) return void broken.push(`${event.key} was answered and never sent`);
    if (answer.kind === 'retry') {
      retries[answer.code] = (retries[answer.code] ?? 0) + 1;
      const reason = `${answer.code} (${answer.message})`;
      const before = reasons.get(reason)?.count ?? 0;
      reasons.set(reason, { code: answer.code, count: before + 1 });
      return;
    }
    if ((answer.kind === 'rejected') !== (entry.digest === undefined))
      return void broken.push(
        `${event.key}, a ${entry.digest === undefined ? 'bad' : 'good'} event, was ${answer.kind}`,
      );
    if (answer.kind === 'rejected') return;
    entry.promised = true;
    if (answer.kind === 'accepted' && answer.isLocal === true) {
      counts.local += 1;
      entry.wasLocal = true;
    }
    const { position } = answer;
    if (position === undefined || entry.positions.includes(position)) return;
    const other = entry.positions.find((one) => journalOf(one) === journalOf(position));
    if (other !== undefined) broken.push(`${event.key} was said to stand at ${other} and at ${position}`);
    entry.positions.push(position);
  }

  function newOrder(name: string): OrderLog {
    const places: { readonly order: number; readonly position: string }[] = [];
    const log: OrderLog = {
      accepted: (order, position) => void places.push({ order, position }),
      positions: () => places.toSorted((a, b) => a.order - b.order).map(({ position }) => position),
    };
    orders.set(name, log);
    return log;
  }

  function refusals(but: ReadonlySet<string> = new Set()): string[] {
    const others = [...reasons].filter(([, { code }]) => !but.has(code));
    return others.map(([reason, { count }]) => `${count} events were refused: ${reason}`);
  }

  return {
    sent,
    answered,
    broke: (sentence) => void broken.push(sentence),
    newOrder,
    sentTogether: (batch) => void batches.push(batch),
    together: () => batches,
    entries: () => entries,
    sample: () => sampled.filter(({ key }) => entries.get(key)?.promised === true),
    orders: () => orders,
    broken: () => broken,
    counts: () => counts,
    retries: () => retries,
    refusals,
  };
}

/** The journal of a position (`<journal>:<seq>`). */
export function journalOf(position: string): string {
  return position.slice(0, position.lastIndexOf(':'));
}
