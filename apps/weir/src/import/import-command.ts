/** `weir import`: from options to a summary and an exit code. */
import { setTimeout as sleep } from 'node:timers/promises';
import { CommandError, EXIT_CODE, type ExitCode } from '../exit-code.ts';
import type { Service } from '../service.ts';
import { printable, type Terminal } from '../terminal.ts';
import { type ImportEnd, runImport } from './importer.ts';
import { type Input, type InputFormat, openInput } from './input.ts';
import { createMapper, createPassThrough, type Mapper, unusedColumns } from './mapper.ts';
import { type Mapping, readMapping } from './mapping.ts';
import { startProgress } from './progress.ts';
import { openRejectsFile } from './rejects-file.ts';
import { createSender } from './sender.ts';
import { createTally, formatSummary, type Summary } from './tally.ts';

export interface ImportCommandOptions {
  readonly path: string;
  readonly mappingPath: string | undefined;
  readonly format: InputFormat | undefined;
  readonly delimiter: string;
  readonly rejectsPath: string | undefined;
  /** Print this many events instead of sending any. */
  readonly dryRun: number | undefined;
  readonly batchRows: number;
  readonly batchesInFlight: number;
  readonly retryForMs: number;
  readonly json: boolean;
  readonly progress: boolean;
}

export interface ImportContext {
  readonly service: Service;
  readonly terminal: Terminal;
  readonly stdin: () => AsyncIterable<Uint8Array>;
  /** Aborts on Ctrl-C. */
  readonly stop: AbortSignal;
}

/** How long batches in flight may take after Ctrl-C. */
const STOP_GRACE_MS = 5_000;

export async function runImportCommand(options: ImportCommandOptions, context: ImportContext): Promise<ExitCode> {
  const mapping = options.mappingPath === undefined ? undefined : await readMapping(options.mappingPath);
  const input = await openInput(options.path, options.format, options.delimiter, context.stdin);
  const mapper = chooseMapper(mapping, input);
  noteUnusedColumns(mapping, input, context.terminal);
  if (options.dryRun !== undefined) return dryRun(input, mapper, options.dryRun, context.terminal);

  const rejects = options.rejectsPath === undefined ? undefined : openRejectsFile(options.rejectsPath);
  try {
    const startMs = performance.now();
    const tally = createTally(
      () => performance.now(),
      (rows) => rejects?.write(rows),
    );
    const sender = createSender({
      service: context.service,
      ledger: tally,
      retryForMs: options.retryForMs,
      sleep: async (ms, signal) => void (await sleep(ms, undefined, { signal })),
      random: Math.random,
      now: () => performance.now(),
    });
    const progress = options.progress
      ? startProgress(context.terminal, () => ({
          bytes: input.bytesRead(),
          bytesTotal: input.bytesTotal,
          rows: tally.settled(),
          elapsedMs: performance.now() - startMs,
        }))
      : undefined;
    const { rows } = input;
    const { batchRows, batchesInFlight } = options;
    const end = await runImport({
      ...{ rows, mapper, sender, tally, batchRows, batchesInFlight },
      stop: context.stop,
      graceMs: STOP_GRACE_MS,
    }).finally(() => progress?.stop());
    return await report(end, tally.summary(), input, options, context);
  } finally {
    rejects?.close();
  }
}

function chooseMapper(mapping: Mapping | undefined, input: Input): Mapper {
  if (mapping !== undefined) return createMapper(mapping, input.header);
  if (input.header === undefined) return createPassThrough();
  throw new CommandError(
    EXIT_CODE.usage,
    'mapping_required',
    'A CSV file needs --mapping FILE, which says what each column is; see weir import --help.',
  );
}

function noteUnusedColumns(mapping: Mapping | undefined, input: Input, terminal: Terminal): void {
  if (mapping === undefined || input.header === undefined) return;
  const unused = unusedColumns(mapping, input.header);
  if (unused.length > 0) terminal.err(`Columns the mapping leaves out: ${unused.map(printable).join(', ')}\n`);
}

/** Prints events as NDJSON, and what would be rejected on the way to them. */
async function dryRun(input: Input, mapper: Mapper, count: number, terminal: Terminal): Promise<ExitCode> {
  let left = count;
  let rejected = 0;
  for await (const rows of input.rows) {
    for (const row of rows) {
      const mapped = mapper(row);
      if (mapped.ok) {
        await terminal.out(`${mapped.json}\n`);
        left--;
      } else {
        rejected++;
        const { code, field, message } = mapped.rejection;
        terminal.err(`${input.unit} ${row.number}: ${printable([code, field, message].filter(Boolean).join(': '))}\n`);
      }
      if (left === 0) return rejected > 0 ? EXIT_CODE.failed : EXIT_CODE.ok;
    }
  }
  return rejected > 0 ? EXIT_CODE.failed : EXIT_CODE.ok;
}

async function report(
  end: ImportEnd,
  summary: Summary,
  input: Input,
  options: ImportCommandOptions,
  { terminal, service }: ImportContext,
): Promise<ExitCode> {
  const { exitCode, outcome, notice } = explain(end, summary, service.url);
  if (options.json) {
    const failure = end.kind === 'failed' || end.kind === 'broken' ? { error: codeOf(end.error), message: notice } : {};
    await terminal.out(`${JSON.stringify({ outcome, unit: input.unit, ...failure, ...summary })}\n`);
  } else await terminal.out(formatSummary(summary, input.unit));
  if (notice !== undefined) terminal.err(`${notice}\n`);
  return exitCode;
}

interface Explanation {
  readonly exitCode: ExitCode;
  readonly outcome: 'complete' | 'interrupted' | 'failed';
  readonly notice?: string;
}

function explain(end: ImportEnd, summary: Summary, url: string): Explanation {
  if (end.kind === 'done') {
    return { exitCode: summary.rejected > 0 ? EXIT_CODE.failed : EXIT_CODE.ok, outcome: 'complete' };
  }
  const again = 'Run the same import again to go on: rows that are stored already count as duplicates.';
  if (end.kind === 'stopped') {
    return { exitCode: EXIT_CODE.interrupted, outcome: 'interrupted', notice: `Interrupted. ${again}` };
  }
  if (end.kind === 'broken') {
    const exitCode = end.error instanceof CommandError ? end.error.exitCode : EXIT_CODE.failed;
    return { exitCode, outcome: 'failed', notice: `${end.error.message} What stood before it was sent.` };
  }
  const { kind, message } = end.error;
  if (kind === 'unreachable') {
    const notice = `Gave up: ${printable(message)}. ${again} Is the service running at ${url}?`;
    return { exitCode: EXIT_CODE.unreachable, outcome: 'failed', notice };
  }
  return { exitCode: EXIT_CODE.failed, outcome: 'failed', notice: `The service refuses: ${printable(message)}` };
}

function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : 'failed';
}
