/** The way to one service, shared by every journal's writes: slots, circuit breaker, pauses, health. */
import type { StoredRow } from '@libs/models';
import type { SinkHealth } from '@libs/pipeline';
import { createBreaker, GivenUp } from './downstream-breaker.ts';
import { createDownstreamHealth } from './downstream-health.ts';
import type { Downstream } from './downstream-options.ts';
import { createPause } from './downstream-pause.ts';
import type { Reply } from './downstream-reply.ts';
import { createPost } from './downstream-request.ts';
import { createSlots } from './downstream-slots.ts';

/** A parsed `Downstream` and its name. */
export type DownstreamOptions = Omit<Downstream, 'from' | 'required' | 'backlogEventsMax'> & { readonly name: string };

/** pino fits. */
export interface DownstreamLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

export interface DownstreamDeps {
  readonly logger: DownstreamLogger;
  /** Monotonic milliseconds. */
  readonly nowMs?: () => number;
  /** Milliseconds since 1970: the age of an event is counted from its receivedAt. */
  readonly wallClockMs?: () => number;
  readonly random?: () => number;
}

/** Why a write sends nothing more. */
export interface Stop {
  readonly code: 'breaker_open' | 'throttled' | 'unfinished' | 'aborted';
  readonly message: string;
  /** Milliseconds until the service may be asked again; absent when it is not the service that stands in the way. */
  readonly afterMs?: number;
}

const ABORTED: Stop = { code: 'aborted', message: 'The write was given up.' };

export interface DownstreamService {
  /** Why nothing may be sent now. */
  obstacle(signal: AbortSignal): Stop | undefined;
  /** Sends one row as soon as there is a slot; a `Stop` says that it was not sent, or given up on the way. */
  send(row: StoredRow, signal: AbortSignal): Promise<Reply | Stop>;
  health(): SinkHealth;
}

export function createDownstreamService(options: DownstreamOptions, deps: DownstreamDeps): DownstreamService {
  const name = `http:${options.name}`;
  const { logger, nowMs = () => performance.now(), random = Math.random } = deps;
  const post = createPost(options);
  const slots = createSlots(options.concurrency);
  const pause = createPause(nowMs, random);
  const health = createDownstreamHealth();
  const breaker = createBreaker({
    limits: options.breaker,
    nowMs,
    random,
    onOpen(openMs) {
      const fields = { sink: name, openMs: Math.round(openMs), lastError: health.lastError() };
      logger.warn(fields, `${name} does not work: the circuit breaker is open`);
    },
    onClose: () => logger.info({ sink: name }, `${name} works again: the circuit breaker is closed`),
  });

  function obstacle(signal: AbortSignal): Stop | undefined {
    if (signal.aborted) return ABORTED;
    const afterMs = pause.leftMs();
    if (afterMs <= 0) return undefined;
    return { code: 'throttled', message: `${name} asks for less: ${pause.reason()}`, afterMs };
  }

  function breakerStop(): Stop {
    const message = `The circuit breaker of ${name} is open; the last error was: ${health.lastError() ?? 'unknown'}`;
    return { code: 'breaker_open', message, afterMs: Math.max(1, breaker.openForMs()) };
  }

  /** Its outcome is noted before the breaker learns of it. */
  async function exchange(row: StoredRow, signal: AbortSignal): Promise<Reply> {
    const startMs = nowMs();
    const reply = await post(row, signal);
    health.note(reply, nowMs() - startMs);
    pause.note(reply);
    return reply;
  }

  async function send(row: StoredRow, signal: AbortSignal): Promise<Reply | Stop> {
    if (!(await slots.acquire(signal))) return ABORTED;
    try {
      const stop = obstacle(signal);
      if (stop !== undefined) return stop;
      return (await breaker.run(() => exchange(row, signal), signal)) ?? breakerStop();
    } catch (error) {
      if (error instanceof GivenUp) return ABORTED;
      throw error;
    } finally {
      slots.release();
    }
  }

  return { obstacle, send, health: () => health.state(breaker, pause) };
}
