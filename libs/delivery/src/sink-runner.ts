/** What all workers of one sink share: its connection, its health, and whether it has stopped for good. */
import type { Sink } from '@libs/pipeline';
import type { SinkState } from './messages.ts';
import type { SinkTotals } from './state.ts';

/** pino fits. */
export interface DeliveryLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface StopReason {
  readonly code: string;
  readonly message: string;
  readonly journal: string;
  readonly seq: number;
  readonly cause?: unknown;
}

export interface SinkRunner {
  readonly sink: Sink;
  /** Aborts when the sink stops for good. */
  readonly stopped: AbortSignal;
  /** Connects unless it is connected; callers at the same time share one attempt. */
  connect(signal: AbortSignal): Promise<void>;
  /** The next `connect` connects again. */
  disconnected(): void;
  noteFailure(error: unknown): void;
  /** A write ended, and nothing of the block is left to be sent. */
  noteWritten(latencyMs: number): void;
  /** The sink took at least one row of its own. */
  noteTaken(): void;
  /** Rows became dead letters in a way that suggests a mistake in its setup. */
  noteRefused(rows: number): void;
  /** How many rows it has refused for good since it last took one. */
  refusedInRow(): number;
  /** It needs a dead letter written and there is no room; logged once until there is some again. */
  noteNoRoom(message: string): void;
  noteRoom(): void;
  /** … and the cursor has moved past it. */
  noteFinished(rows: number): void;
  /** Stops the sink for good, in all journals, and logs why, once. */
  stop(reason: StopReason): void;
  state(): RunnerState;
}

/** What a sink's runner knows of it; the rest of `SinkState` is known elsewhere. */
export type RunnerState = Omit<
  SinkState,
  'required' | 'pendingEvents' | 'pendingBytes' | 'oldestPendingAgeMs' | 'deadLetters'
>;

/** After so many failures in a row (about the time of the longest backoff) a sink is not merely degraded. */
const FAILURES_UNHEALTHY = 5;

export function createSinkRunner(sink: Sink, totals: SinkTotals, logger: DeliveryLogger): SinkRunner {
  const stopping = new AbortController();
  let connecting: Promise<void> | undefined;
  let { rows, blocks, retries } = totals;
  let failuresInRow = 0;
  let lastError: string | undefined;
  let latencyMs: number | undefined;
  let stopReason: StopReason | undefined;
  let refusedInRow = 0;
  let noRoom: string | undefined;

  function connect(signal: AbortSignal): Promise<void> {
    if (connecting === undefined) {
      const attempt = (async () => sink.connect(signal))();
      connecting = attempt;
      attempt.catch(() => {
        if (connecting === attempt) connecting = undefined;
      });
    }
    return connecting;
  }

  function stop(reason: StopReason): void {
    if (stopReason !== undefined) return;
    stopReason = reason;
    const { cause, ...place } = reason;
    logger.error({ sink: sink.name, ...place, err: cause }, `sink ${sink.name} has stopped: ${reason.message}`);
    stopping.abort(new Error(`sink ${sink.name} has stopped`));
  }

  function state(): RunnerState {
    const own = sink.health();
    const latency = latencyMs ?? own.latencyMs;
    const error = stopReason?.message ?? noRoom ?? (failuresInRow > 0 ? lastError : own.lastError);
    const isHeld = stopReason !== undefined || noRoom !== undefined;
    return {
      name: sink.name,
      state: isHeld ? 'unhealthy' : worse(own.state, stateAfter(failuresInRow)),
      ...(stopReason === undefined ? {} : { stopped: stopReason.message, stoppedCode: stopReason.code }),
      ...(latency === undefined ? {} : { latencyMs: latency }),
      ...(error === undefined ? {} : { lastError: error }),
      rows,
      blocks,
      retries,
    };
  }

  return {
    sink,
    stopped: stopping.signal,
    connect,
    disconnected() {
      connecting = undefined;
    },
    noteFailure(error) {
      failuresInRow++;
      retries++;
      lastError = error instanceof Error ? error.message : String(error);
    },
    noteWritten(ms) {
      failuresInRow = 0;
      latencyMs = ms;
    },
    noteTaken() {
      refusedInRow = 0;
      failuresInRow = 0;
    },
    noteRefused(refused) {
      refusedInRow += refused;
    },
    refusedInRow: () => refusedInRow,
    noteNoRoom(message) {
      if (noRoom === undefined) logger.error({ sink: sink.name }, `sink ${sink.name} has stopped taking: ${message}`);
      noRoom = message;
    },
    noteRoom() {
      if (noRoom !== undefined) logger.info({ sink: sink.name }, `sink ${sink.name} goes on: there is room again`);
      noRoom = undefined;
    },
    noteFinished(blockRows) {
      rows += blockRows;
      blocks++;
    },
    stop,
    state,
  };
}

type HealthState = RunnerState['state'];

function stateAfter(failures: number): HealthState {
  if (failures === 0) return 'healthy';
  return failures < FAILURES_UNHEALTHY ? 'degraded' : 'unhealthy';
}

function worse(a: HealthState, b: HealthState): HealthState {
  const order: readonly HealthState[] = ['healthy', 'degraded', 'unhealthy'];
  return order.indexOf(a) > order.indexOf(b) ? a : b;
}
