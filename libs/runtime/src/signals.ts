/** What a signal means: the first asks for an orderly end, a later one for an immediate end. */
import { constants } from 'node:os';

/**
 * Ctrl-C reaches a process twice when npm started it: once from the terminal (to the whole group) and once from npm, which
 * passes it on. Signals this close together are one request.
 */
const SAME_REQUEST_MS = 1_000;

export type ShutdownSignal = 'SIGTERM' | 'SIGINT';

export interface ShutdownOptions {
  /** Called once, with the first signal. */
  readonly onFirst: (signal: ShutdownSignal) => void;
  /** Called for a signal that comes more than a second later. By default the process ends at once. */
  readonly onSecond?: (signal: ShutdownSignal) => void;
  /** A supervised child listens to SIGTERM only: its supervisor decides what Ctrl-C means. Default: both. */
  readonly signals?: readonly ShutdownSignal[];
}

/** Listens for the signals that ask for an end. Returns the function that stops listening. */
export function onShutdown(options: ShutdownOptions): () => void {
  const signals = options.signals ?? ['SIGTERM', 'SIGINT'];
  const onSecond = options.onSecond ?? ((signal) => process.exit(signalExitCode(signal)));
  let firstAt: number | undefined;
  function listener(name: NodeJS.Signals): void {
    const signal = name as ShutdownSignal;
    if (firstAt === undefined) {
      firstAt = performance.now();
      options.onFirst(signal);
    } else if (performance.now() - firstAt > SAME_REQUEST_MS) {
      onSecond(signal);
    }
  }
  for (const signal of signals) process.on(signal, listener);
  return () => {
    for (const signal of signals) process.off(signal, listener);
  };
}

/** What a shell reports for a process that a signal ended: 130 for SIGINT, 143 for SIGTERM. */
export function signalExitCode(signal: NodeJS.Signals): number {
  return 128 + (constants.signals[signal] ?? 0);
}
