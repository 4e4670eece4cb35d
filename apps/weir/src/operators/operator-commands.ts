/** The options of `weir dlq`, `weir sink` and `weir reconcile`. */
import type { Command } from 'commander';
import type { CliContext } from '../cli.ts';
import type { ExitCode } from '../exit-code.ts';
import { common, type ServiceFlags, serviceOf, wholeNumber } from '../options.ts';
import {
  deleteLetters,
  type LetterFilter,
  type LetterSelection,
  listLetters,
  replayLetters,
  showLetter,
} from './dlq.ts';
import { createOperatorService, type OperatorService } from './operator-service.ts';
import { reconcile } from './reconcile.ts';
import { dropSink, listSinks } from './sink.ts';

type Done = (exitCode: ExitCode) => void;

/** The service takes at most four minutes for a replay, two for reconciling. */
const TIMEOUT_MS = 300_000;
const LETTERS_MAX = 1_000_000;

export function addOperatorCommands(program: Command, context: CliContext, done: Done): void {
  addDlq(program, context, done);
  addSink(program, context, done);
  addReconcile(program, context, done);
}

interface FilterFlags extends ServiceFlags {
  readonly sink?: string;
  readonly type?: string;
  readonly store?: string;
  readonly code?: string;
  readonly from?: string;
  readonly to?: string;
}

interface SelectionFlags extends FilterFlags {
  readonly all: boolean;
}

function filtered(command: Command): Command {
  return command
    .option('--sink <name>', 'refused by this sink: store, kafka, http:NAME')
    .option('--type <eventType>', 'of this event type')
    .option('--store <storeId>', 'of this store')
    .option('--code <code>', 'refused for this reason')
    .option('--from <time>', 'first refused at this time (2026-03-14T09:26:53Z) or later')
    .option('--to <time>', 'first refused before this time');
}

function filterOf({ sink, type, store, code, from, to }: FilterFlags): LetterFilter {
  return { sink, eventType: type, storeId: store, code, from, to };
}

function selectionOf(ids: readonly number[], flags: SelectionFlags): LetterSelection {
  return { ids, filter: filterOf(flags), all: flags.all };
}

function id(text: string): number {
  return wholeNumber(1, Number.MAX_SAFE_INTEGER)(text);
}

function moreIds(text: string, before: readonly number[] = []): readonly number[] {
  return [...before, id(text)];
}

function addDlq(program: Command, context: CliContext, done: Done): void {
  const { terminal } = context;
  const dlq = program.command('dlq').description('dead letters: events that a sink refused for good');
  filtered(common(dlq.command('list'), context))
    .description('list them, oldest first')
    .option('--limit <count>', 'how many at most', wholeNumber(1, LETTERS_MAX), 50)
    .action(async (flags: FilterFlags & { readonly limit: number }) =>
      done(
        await listLetters(operatorsOf(flags, context), filterOf(flags), flags.limit, { terminal, json: flags.json }),
      ),
    );
  common(dlq.command('show'), context)
    .description('show one with its event, as JSON')
    .argument('<id>', 'its number', id)
    .action(async (number: number, flags: ServiceFlags) =>
      done(await showLetter(operatorsOf(flags, context), number, { terminal, json: flags.json })),
    );
  for (const [name, run, what] of [
    ['replay', replayLetters, 'send them again, to the sink that refused them and to no other'],
    ['delete', deleteLetters, 'delete them for good'],
  ] as const) {
    filtered(common(dlq.command(name), context))
      .description(what)
      .argument('[ids...]', 'by number; else by filter', moreIds)
      .option('--all', 'every dead letter', false)
      .action(async (ids: readonly number[], flags: SelectionFlags) =>
        done(await run(operatorsOf(flags, context), selectionOf(ids, flags), { terminal, json: flags.json })),
      );
  }
}

function addSink(program: Command, context: CliContext, done: Done): void {
  const { terminal } = context;
  const sink = program.command('sink').description('where events go');
  common(sink.command('list'), context)
    .description('list them, with those that were taken out of the configuration')
    .action(async (flags: ServiceFlags) =>
      done(await listSinks(operatorsOf(flags, context), { terminal, json: flags.json })),
    );
  common(sink.command('drop'), context)
    .description('forget one that was taken out of the configuration, so that the journal is released without it')
    .argument('<name>', 'its name, such as http:analytics')
    .action(async (name: string, flags: ServiceFlags) =>
      done(await dropSink(operatorsOf(flags, context), name, { terminal, json: flags.json })),
    );
}

function addReconcile(program: Command, context: CliContext, done: Done): void {
  common(program.command('reconcile'), context)
    .description('does it all add up: acknowledged = stored + dead letters + pending, by type and sink')
    .option('--from <time>', 'beginning (2026-03-14T09:00:00Z); an hour before the end when absent')
    .option('--to <time>', 'end; now when absent')
    .option('--deep', 'read topics back instead of trusting what was acknowledged; slow', false)
    .action(async (flags: ServiceFlags & { readonly from?: string; readonly to?: string; readonly deep: boolean }) =>
      done(await reconcile(operatorsOf(flags, context), flags, { terminal: context.terminal, json: flags.json })),
    );
}

function operatorsOf(flags: ServiceFlags, context: CliContext): OperatorService {
  return createOperatorService(serviceOf(flags, context, TIMEOUT_MS), context.stop);
}
