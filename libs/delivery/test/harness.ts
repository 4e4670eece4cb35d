/** One "process" of delivery in a test: started on files that the next one finds again. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JournalReader } from '@libs/journal';
import { type Sink, sleep } from '@libs/pipeline';
import { createDelivery } from '../src/delivery.ts';
import type { Delivery, DeliveryOptions } from '../src/delivery-types.ts';
import { DEFAULT_DEAD_LETTER_LIMITS, type DeliveryLimits } from '../src/limits.ts';
import type { SinkEntry } from '../src/sink-entry.ts';
import { openState, type State } from '../src/state.ts';

export const LIMITS: DeliveryLimits = {
  blockRowsMax: 1_000,
  blockBytesMax: 1_000_000,
  flushIntervalMs: 1,
  retryMinMs: 1,
  retryMaxMs: 4,
  writeTimeoutMs: 60_000,
  ...DEFAULT_DEAD_LETTER_LIMITS,
  deadLetterRetryMs: 2,
};

export interface LogLine {
  readonly level: 'info' | 'warn' | 'error';
  readonly fields: Record<string, unknown>;
  readonly message: string;
}

export interface Process {
  readonly delivery: Delivery;
  readonly log: LogLine[];
  readonly progress: { journal: string; sink: string; seq: number }[];
  readonly released: { journal: string; seq: number }[];
  readonly fatal: unknown[];
  /** Ends at once, whatever is on its way, and leaves the files as they are. */
  kill(): Promise<void>;
  /** Ends as on SIGTERM, with all the time it needs. */
  stop(): Promise<void>;
}

export function startProcess(options: {
  readonly file: string;
  readonly sinks: readonly (Sink | SinkEntry)[];
  readonly readers: readonly JournalReader[];
  readonly limits?: Partial<DeliveryLimits>;
  readonly wrapState?: (state: State) => State;
  readonly nowMs?: () => number;
  readonly open?: (journal: string) => JournalReader;
  readonly more?: Partial<Pick<DeliveryOptions, 'startedAtMs' | 'readRows'>>;
  /** Rows that are durable are announced, as accept does when deliver connects. */
  readonly durable?: readonly { journal: string; seq: number }[];
}): Process {
  const log: LogLine[] = [];
  const progress: Process['progress'] = [];
  const released: Process['released'] = [];
  const fatal: unknown[] = [];
  const write = (level: LogLine['level']) => (fields: object, message: string) => {
    log.push({ level, fields: fields as Record<string, unknown>, message });
  };
  const real = openState(options.file);
  function begin(): Delivery {
    return createDelivery({
      state: options.wrapState?.(real) ?? real,
      sinks: options.sinks.map((sink) => ('sink' in sink ? sink : { sink })),
      ...options.more,
      limits: { ...LIMITS, ...options.limits },
      clock: { nowMs: options.nowMs ?? (() => performance.now()), sleep, random: () => 0.5 },
      logger: { info: write('info'), warn: write('warn'), error: write('error') },
      onProgress: (journal, sink, seq) => progress.push({ journal, sink, seq }),
      onRelease: (journal, seq) => released.push({ journal, seq }),
      onFatal: (error) => fatal.push(error),
    });
  }
  let delivery: Delivery;
  try {
    delivery = begin();
  } catch (error) {
    real.close();
    throw error;
  }
  try {
    for (const reader of options.readers) {
      const { open } = options;
      const refusals = delivery.add(reader, open === undefined ? undefined : () => open(reader.journal));
      if (refusals.length > 0) throw new Error(refusals.join('\n'));
    }
  } catch (error) {
    void delivery.stop(AbortSignal.abort());
    real.close();
    throw error;
  }
  for (const { journal, seq } of options.durable ?? []) delivery.nudge(journal, seq);

  async function end(signal: AbortSignal): Promise<void> {
    await delivery.stop(signal);
    real.close();
  }
  return {
    delivery,
    log,
    progress,
    released,
    fatal,
    kill: () => end(AbortSignal.abort(new Error('killed'))),
    stop: () => end(new AbortController().signal),
  };
}

/** Waits for a condition; fails with its text after ten seconds. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  while (!condition()) {
    if (performance.now() > deadlineMs) throw new Error(`it never came true that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Runs with a folder of its own. */
export async function withFolder<T>(run: (folder: string) => Promise<T> | T): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-delivery-'));
  try {
    return await run(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
