/**
 * One reader of a topic: Server-Sent Events (WHATWG HTML, 9.2). Bun asks for the next piece when the one before has gone,
 * so a reader holds one page at most, however slowly it reads; one that reads nothing at all is closed by the
 * connection's idle timeout, because nothing goes out to it.
 */
import { HttpError } from '@libs/elysia-server';
import { sleep } from '@libs/pipeline';
import type { Positions, TopicPage, TopicRow } from '../operator-requests.ts';
import { formatPositions } from './topics-position.ts';

export interface TopicStreamOptions {
  readonly start: Positions;
  /** Events after which the stream ends. */
  readonly limit: number;
  /** False: it ends where there is nothing more. */
  readonly follow: boolean;
  /** Throws `HttpError` with status 503 or 504 for "later". */
  readonly page: (after: Positions, limit: number, signal: AbortSignal) => Promise<TopicPage>;
  /** True once the stream is to end: the service is going away, a token has expired. */
  readonly isOver: () => boolean;
  /** Called once, however it ended. */
  readonly onEnd: () => void;
  /** Aborts when the client has gone. */
  readonly signal: AbortSignal;
  readonly timing: TopicTiming;
}

export interface TopicTiming {
  /** A comment goes out after so many milliseconds without an event. */
  readonly heartbeatMs: number;
  /** Milliseconds between two looks at a topic that has nothing new. */
  readonly pollMs: number;
}

/** Rows asked for at a time: what a reader may hold, 64 KiB each at the worst. */
export const PAGE_ROWS = 200;
const CHUNK_CHARS = 64 * 1024;
/** What EventSource waits before it connects again. */
const RECONNECT_MS = 1_000;

export function createTopicStream(options: TopicStreamOptions): ReadableStream<Uint8Array> {
  const { timing, limit } = options;
  const ended = new AbortController();
  const signal = AbortSignal.any([options.signal, ended.signal]);
  const encoder = new TextEncoder();
  let cursor: Record<string, number> = { ...options.start };
  let page: TopicPage = { rows: [], positions: cursor, isEnd: false };
  let taken = 0;
  let sent = 0;
  let lastSentMs = performance.now();
  let isOpened = false;
  let isEnded = false;

  function end(): void {
    if (isEnded) return;
    isEnded = true;
    options.signal.removeEventListener('abort', end);
    ended.abort();
    options.onEnd();
  }

  /** The next piece of text; undefined at the end. */
  async function next(): Promise<string | undefined> {
    if (!isOpened) {
      isOpened = true;
      return `retry: ${RECONNECT_MS}\n${idLine()}\n`;
    }
    while (!options.isOver() && !signal.aborted) {
      if (taken < page.rows.length) return takeRows();
      if (sent >= limit || (page.isEnd && !options.follow)) return undefined;
      if (performance.now() - lastSentMs >= timing.heartbeatMs) return `: heartbeat\n${idLine()}\n`;
      if (page.isEnd) await sleep(timing.pollMs, signal);
      await readPage();
    }
    return undefined;
  }

  /** A deliver process that is away comes back: the stream waits for it, and heartbeats go on. */
  async function readPage(): Promise<void> {
    try {
      page = await options.page(cursor, Math.min(PAGE_ROWS, limit - sent), signal);
    } catch (error) {
      if (!(error instanceof HttpError) || (error.status !== 503 && error.status !== 504)) throw error;
      page = { rows: [], positions: cursor, isEnd: page.isEnd };
      await sleep(timing.pollMs, signal);
    }
    taken = 0;
    if (page.rows.length === 0) cursor = { ...page.positions };
  }

  function takeRows(): string {
    let text = '';
    while (taken < page.rows.length && text.length < CHUNK_CHARS) {
      text += eventText(page.rows[taken] as TopicRow);
      taken += 1;
    }
    if (taken === page.rows.length) cursor = { ...page.positions };
    return text;
  }

  function eventText({ journal, seq, json }: TopicRow): string {
    cursor[journal] = seq;
    sent += 1;
    return `id: ${formatPositions(cursor, journal)}\ndata: ${json}\n\n`;
  }

  /** Also without an event it moves the client's Last-Event-ID: what was looked at need not be looked at again. */
  function idLine(): string {
    const positions = formatPositions(cursor);
    return positions === '' ? '' : `id: ${positions}\n`;
  }

  options.signal.addEventListener('abort', end, { once: true });
  // An event that is over is not heard, and a stream that nobody reads is never asked.
  if (options.signal.aborted) end();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const text = await next().catch((error: unknown) => {
          if (signal.aborted) return undefined;
          end();
          throw error;
        });
        lastSentMs = performance.now();
        if (text !== undefined) {
          controller.enqueue(encoder.encode(text));
          return;
        }
        // After a cancel there is nothing left to close.
        if (!isEnded) controller.close();
        end();
      },
      cancel: end,
    },
    { highWaterMark: 0 },
  );
}
