/**
 * What sinks have done, told to every instance over pub/sub, so that a WebSocket hears of an event's confirmation
 * whichever instance stored it. Each message says "up to here", so a lost one is made good by the next, and the latest
 * are repeated for whoever comes later, and as a sign of life. While Redis is away nothing is kept but the latest.
 */
import { createRedisConnection, type RedisConnectionOptions } from './redis-connection.ts';
import { createOutageLog, type WindowLogger } from './redis-window-health.ts';

/** This sink has everything of this journal up to and including `throughSeq`. */
export interface Confirmation {
  readonly journal: string;
  readonly sink: string;
  readonly throughSeq: number;
}

export interface ConfirmationBusOptions extends Omit<RedisConnectionOptions, 'clientName'> {
  /** Default `weir:confirmations`. Instances that hear each other share it. */
  readonly channel?: string;
  /** Confirmations leave at most this often. Default 50. */
  readonly intervalMs?: number;
  /** The latest of each journal and sink are told again this often, for as long as the bus is open. Default 1,000. */
  readonly repeatMs?: number;
  /** Pairs of journal and sink that are remembered; beyond it the one that was told longest ago goes. Default 1,000. */
  readonly pairsMax?: number;
}

export interface ConfirmationBusDeps {
  readonly logger: WindowLogger;
  readonly monotonicMs?: () => number;
  readonly random?: () => number;
}

export interface ConfirmationBusHealth {
  readonly isConnected: boolean;
  readonly published: number;
  /** Messages that could not be sent; what they said is repeated. */
  readonly failed: number;
  readonly received: number;
  /** Messages of others that could not be read. */
  readonly malformed: number;
}

export interface ConfirmationBus {
  open(): void;
  /** Never blocks, never throws; several of one journal and sink become one. */
  publish(confirmation: Confirmation): void;
  /** Called with what any instance has told, this one included, as often as it grows; returns the function that ends it. */
  subscribe(listener: (confirmation: Confirmation) => void): () => void;
  /** When anything of this journal was told last, were it the same again: monotonic milliseconds. */
  lastHeardMs(journal: string): number | undefined;
  health(): ConfirmationBusHealth;
  close(): void;
}

/** Longer messages come from nobody of ours. */
const MESSAGE_LENGTH_MAX = 1 << 20;

export function createConfirmationBus(options: ConfirmationBusOptions, deps: ConfirmationBusDeps): ConfirmationBus {
  const { channel = 'weir:confirmations', intervalMs = 50, repeatMs = 1_000, pairsMax = 1_000 } = options;
  const now = deps.monotonicMs ?? (() => performance.now());
  const random = deps.random ?? Math.random;
  const outages = createOutageLog(deps.logger, now, 'confirmations of other instances are not heard');
  const told = new Map<string, Confirmation>();
  const heard = new Map<string, number>();
  const heardMs = new Map<string, number>();
  const fresh = new Set<string>();
  const listeners = new Set<(confirmation: Confirmation) => void>();
  const counts = { published: 0, failed: 0, received: 0, malformed: 0 };
  let isSpeaking = false;
  let isListening = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let repeater: ReturnType<typeof setInterval> | undefined;

  const speaker = createRedisConnection(
    { ...options, clientName: 'weir-confirm' },
    {
      onReady() {
        isSpeaking = true;
        speaker.markGood();
        repeat();
      },
      onLost() {
        isSpeaking = false;
      },
      random,
    },
  );
  // A connection that listens may do nothing else.
  const ear = createRedisConnection(
    { ...options, clientName: 'weir-listen' },
    {
      async onReady() {
        await ear.send('subscribe', channel);
        isListening = true;
        ear.markGood();
        outages.changed(undefined);
      },
      onLost(why) {
        isListening = false;
        outages.changed(why);
      },
      onMessage: receive,
      random,
    },
  );

  function publish(confirmation: Confirmation): void {
    const pair = pairOf(confirmation);
    const before = told.get(pair);
    if (before !== undefined && before.throughSeq >= confirmation.throughSeq) return;
    remember(told, pair, confirmation);
    fresh.add(pair);
    timer ??= setTimeout(flush, intervalMs);
  }

  /** Moves the name to the end, so that the first is the one that was told longest ago. */
  function remember<T>(map: Map<string, T>, name: string, value: T): void {
    map.delete(name);
    map.set(name, value);
    if (map.size > pairsMax) map.delete(map.keys().next().value as string);
  }

  function flush(): void {
    timer = undefined;
    const confirmations = [...fresh].flatMap((pair) => told.get(pair) ?? []);
    fresh.clear();
    speak(confirmations);
  }

  function repeat(): void {
    speak([...told.values()]);
  }

  function speak(confirmations: readonly Confirmation[]): void {
    if (confirmations.length === 0) return;
    if (!isSpeaking) {
      counts.failed += 1;
      return;
    }
    const text = JSON.stringify(confirmations.map(({ journal, sink, throughSeq }) => [journal, sink, throughSeq]));
    speaker.send('publish', channel, text).then(
      () => {
        counts.published += 1;
      },
      () => {
        counts.failed += 1;
      },
    );
  }

  function receive(text: string): void {
    const confirmations = text.length > MESSAGE_LENGTH_MAX ? undefined : readMessage(text);
    if (confirmations === undefined) {
      counts.malformed += 1;
      return;
    }
    counts.received += 1;
    for (const confirmation of confirmations) {
      remember(heardMs, confirmation.journal, now());
      const pair = pairOf(confirmation);
      if ((heard.get(pair) ?? -1) >= confirmation.throughSeq) continue;
      remember(heard, pair, confirmation.throughSeq);
      for (const listener of listeners) listener(confirmation);
    }
  }

  return {
    open() {
      speaker.open();
      ear.open();
      repeater = setInterval(repeat, repeatMs);
    },
    publish,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    lastHeardMs: (journal) => heardMs.get(journal),
    health: () => ({ isConnected: isSpeaking && isListening, ...counts }),
    close() {
      clearTimeout(timer);
      clearInterval(repeater);
      speaker.close();
      ear.close();
    },
  };
}

function pairOf({ journal, sink }: Confirmation): string {
  return `${journal} ${sink}`;
}

function readMessage(text: string): Confirmation[] | undefined {
  const items = parse(text);
  if (!Array.isArray(items)) return undefined;
  const confirmations: Confirmation[] = [];
  for (const item of items) {
    if (!Array.isArray(item)) return undefined;
    const [journal, sink, throughSeq] = item;
    if (typeof journal !== 'string' || typeof sink !== 'string' || !Number.isSafeInteger(throughSeq)) return undefined;
    confirmations.push({ journal, sink, throughSeq });
  }
  return confirmations;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
