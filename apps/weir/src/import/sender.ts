/**
 * Sends batches until every event in them has an answer. Sending again is safe at any time: the event id makes the
 * second copy a duplicate.
 */
import { type Service, Unreachable } from '../service.ts';
import { type BatchReply, readBatchReply } from './batch-reply.ts';
import type { Rejection } from './row.ts';

export interface Outgoing {
  readonly number: number;
  readonly raw: string;
  readonly json: string;
}

export interface RejectedRow {
  readonly number: number;
  readonly raw: string;
  readonly rejection: Rejection;
}

/** What became of rows; called with every answer, so that an interrupted run can tell what is certain. */
export interface Ledger {
  accepted(count: number): void;
  duplicates(count: number): void;
  rejected(rows: readonly RejectedRow[]): void;
  /** Rows that are sent again; `lostReply` when the first attempt may have been stored all the same. */
  resent(rows: number, lostReply: boolean): void;
}

/** Gives up: no progress for `retryForMs`, or an answer that no repetition can change. */
export class SendError extends Error {
  readonly kind: 'unreachable' | 'hopeless';
  readonly code: string;
  constructor(kind: 'unreachable' | 'hopeless', code: string, message: string) {
    super(message);
    this.name = 'SendError';
    this.kind = kind;
    this.code = code;
  }
}

export interface SenderOptions {
  readonly service: Service;
  readonly ledger: Ledger;
  /** How long one batch is tried again without any event of it being answered, in milliseconds. */
  readonly retryForMs: number;
  /** Resolves after `ms`; rejects when `signal` aborts. */
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  /** From 0 to 1. */
  readonly random: () => number;
  /** Milliseconds that never run backwards. */
  readonly now: () => number;
}

export interface Sender {
  /** Resolves once every row is answered. Throws `SendError`, or the signal's reason when it aborts. */
  send(rows: readonly Outgoing[], signal: AbortSignal): Promise<void>;
}

const BACKOFF_MS_MIN = 200;
const BACKOFF_MS_MAX = 10_000;

export function createSender(options: SenderOptions): Sender {
  const { ledger, retryForMs, sleep, random, now } = options;

  async function send(rows: readonly Outgoing[], signal: AbortSignal): Promise<void> {
    let pending = rows;
    let attempt = 0;
    let deadline = now() + retryForMs;
    while (pending.length > 0) {
      signal.throwIfAborted();
      const reply = await post(options.service, pending, signal);
      if (reply.kind === 'hopeless') throw new SendError('hopeless', reply.code, reply.message);
      if (reply.kind === 'refused') return refuse(pending, reply, signal);
      const left = reply.kind === 'results' ? settle(pending, reply, ledger) : pending;
      if (left.length < pending.length) {
        attempt = 0;
        deadline = now() + retryForMs;
      }
      pending = left;
      if (pending.length === 0) return;
      const { afterMs, code, message } = waitOf(reply);
      const waitMs = backoffMs(attempt++, afterMs, random());
      if (now() + waitMs > deadline) throw new SendError('unreachable', code, message);
      ledger.resent(pending.length, reply.kind === 'lost' && reply.maybeSeen);
      await sleep(waitMs, signal);
    }
  }

  /** Halves the batch until what is refused stands alone. */
  async function refuse(rows: readonly Outgoing[], reply: { code: string; message: string }, signal: AbortSignal) {
    const [first, ...others] = rows;
    if (first === undefined) return;
    if (others.length === 0) {
      const rejection = { code: reply.code, field: '', message: reply.message };
      return ledger.rejected([{ number: first.number, raw: first.raw, rejection }]);
    }
    const middle = rows.length >> 1;
    await send(rows.slice(0, middle), signal);
    await send(rows.slice(middle), signal);
  }

  return { send };
}

type Reply = BatchReply | { readonly kind: 'lost'; readonly message: string; readonly maybeSeen: boolean };

async function post(service: Service, rows: readonly Outgoing[], signal: AbortSignal): Promise<Reply> {
  const body = `{"events":[${rows.map((row) => row.json).join(',')}]}`;
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body };
  try {
    const reply = await service.request('/events/batch', init, signal);
    return readBatchReply(reply.status, reply.headers.get('retry-after'), await reply.text(), rows.length);
  } catch (error) {
    if (error instanceof Unreachable) return { kind: 'lost', message: error.message, maybeSeen: error.maybeSeen };
    throw error;
  }
}

/** Books what was answered; returns the rows to send again. */
function settle(rows: readonly Outgoing[], reply: Extract<Reply, { kind: 'results' }>, ledger: Ledger): Outgoing[] {
  const again: Outgoing[] = [];
  const rejected: RejectedRow[] = [];
  let duplicates = 0;
  for (const { index, status, code, field, message } of reply.results) {
    const row = rows[index];
    if (row === undefined) continue;
    if (status === 'duplicate') duplicates++;
    else if (status === 'retry') again.push(row);
    else rejected.push({ number: row.number, raw: row.raw, rejection: { code, field, message } });
  }
  ledger.accepted(rows.length - reply.results.length);
  ledger.duplicates(duplicates);
  if (rejected.length > 0) ledger.rejected(rejected);
  return again;
}

function waitOf(reply: Reply): { afterMs: number; code: string; message: string } {
  if (reply.kind === 'later') return reply;
  if (reply.kind === 'lost') return { afterMs: 0, code: 'unreachable', message: reply.message };
  if (reply.kind !== 'results') return { afterMs: 0, code: reply.code, message: reply.message };
  const retries = reply.results.filter((result) => result.status === 'retry');
  const afterMs = Math.max(0, ...retries.map((result) => result.retryAfterMs));
  return {
    afterMs,
    code: retries[0]?.code ?? 'retry',
    message: retries[0]?.message ?? 'the service asks to try again',
  };
}

/** At least what was asked for, spread upwards so that batches in flight do not come back at the same moment. */
function backoffMs(attempt: number, afterMs: number, random: number): number {
  const exponential = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(attempt, 16));
  return Math.round(Math.max(exponential * (0.5 + random / 2), afterMs * (1 + random / 4)));
}
