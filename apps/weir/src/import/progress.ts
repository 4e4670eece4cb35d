/** How far an import has come: a bar on a terminal, a line every few seconds elsewhere. */
import { formatBytes, formatCount, type Terminal } from '../terminal.ts';

export interface Position {
  /** Bytes read so far, and of how many; the total is unknown for standard input. */
  readonly bytes: number;
  readonly bytesTotal: number | undefined;
  /** Rows that have an answer. */
  readonly rows: number;
  readonly elapsedMs: number;
}

export interface Progress {
  /** Clears the bar. Called twice, it does nothing the second time. */
  stop(): void;
}

const BAR_INTERVAL_MS = 100;
const LINE_INTERVAL_MS = 5_000;
const BAR_CHARACTERS = 24;

export function startProgress(terminal: Terminal, position: () => Position): Progress {
  const bar = terminal.errIsTty;
  const timer = setInterval(
    () =>
      terminal.err(bar ? `\r\u001b[K${formatProgress(position(), true)}` : `${formatProgress(position(), false)}\n`),
    bar ? BAR_INTERVAL_MS : LINE_INTERVAL_MS,
  );
  let running = true;
  return {
    stop() {
      if (!running) return;
      running = false;
      clearInterval(timer);
      if (bar) terminal.err('\r\u001b[K');
    },
  };
}

/** One line without its end. */
export function formatProgress({ bytes, bytesTotal, rows, elapsedMs }: Position, bar: boolean): string {
  const rate = elapsedMs > 0 ? (rows / elapsedMs) * 1000 : 0;
  const counts = `${formatCount(rows)} rows  ${formatCount(Math.round(rate))}/s`;
  if (bytesTotal === undefined || bytesTotal === 0) return `${formatBytes(bytes)}  ${counts}`;
  const share = Math.min(1, bytes / bytesTotal);
  const filled = Math.round(share * BAR_CHARACTERS);
  const drawn = bar ? `${'█'.repeat(filled)}${'░'.repeat(BAR_CHARACTERS - filled)} ` : '';
  const left = share > 0 ? `  ${formatDuration((elapsedMs / share) * (1 - share))} left` : '';
  return `${drawn}${Math.floor(share * 100)} %  ${counts}${left}`;
}

function formatDuration(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}
