/** The commands and their options; what they do is in their own files. */
import { Command, InvalidArgumentError, Option } from 'commander';
import type { Config } from './config.ts';
import { runDoctorCommand } from './doctor/doctor-command.ts';
import { CommandError, EXIT_CODE, type ExitCode } from './exit-code.ts';
import { IMPORT_HELP } from './import/help.ts';
import { runImportCommand } from './import/import-command.ts';
import { INPUT_FORMATS, type InputFormat } from './import/input.ts';
import { addOperatorCommands } from './operators/operator-commands.ts';
import { common, EXIT_CODES_HELP, type ServiceFlags, serviceOf, wholeNumber } from './options.ts';
import { runQueryCommand } from './query/query-command.ts';
import { INGESTION_ENTRY, startService } from './start-command.ts';
import type { Terminal } from './terminal.ts';

export interface CliContext {
  readonly config: Config;
  readonly terminal: Terminal;
  readonly stdin: () => ReadableStream<Uint8Array>;
  readonly stdinIsTty: boolean;
  /** Aborts, with a `CommandError`, on Ctrl-C. */
  readonly stop: AbortSignal;
  readonly version: string;
  /** The Bun version this checkout is tested with. */
  readonly bunPinned: string | undefined;
}

/** One batch may take this long from its first byte to the end of its reply. */
const IMPORT_TIMEOUT_MS = 60_000;
/** The service ends a query after 60 s itself. */
const QUERY_TIMEOUT_MS = 90_000;
const HEALTH_TIMEOUT_MS = 5_000;
const CELL_COLUMNS = 48;

/** Builds the program; `done` is told the exit code of the command that ran. Parsing errors throw CommanderError. */
export function createCli(context: CliContext, done: (exitCode: ExitCode) => void): Command {
  const { terminal } = context;
  const program = new Command('weir')
    .description('Event ingestion that never loses an event it has acknowledged.')
    .version(context.version)
    .enablePositionalOptions()
    .exitOverride()
    .showSuggestionAfterError()
    .configureOutput({ writeOut: (text) => void terminal.out(text), writeErr: (text) => terminal.err(text) })
    .addHelpText('after', EXIT_CODES_HELP);
  addStart(program, context);
  addImport(program, context, done);
  addQuery(program, context, done);
  addDoctor(program, context, done);
  addOperatorCommands(program, context, done);
  return program;
}

function addStart(program: Command, { config }: CliContext): void {
  program
    .command('start')
    .description('run the service; everything behind start is passed on to it, such as --config FILE')
    .argument('[args...]', "the service's own arguments")
    .allowUnknownOption()
    .passThroughOptions()
    .action((args: string[]) => startService(INGESTION_ENTRY, args, config.environment));
}

interface ImportFlags extends ServiceFlags {
  readonly mapping?: string;
  readonly format?: InputFormat;
  readonly delimiter: string;
  readonly rejects?: string;
  readonly dryRun?: number | true;
  readonly batch: number;
  readonly inFlight: number;
  readonly retryFor: number;
  readonly progress: boolean;
}

function addImport(program: Command, context: CliContext, done: (exitCode: ExitCode) => void): void {
  common(program.command('import'), context)
    .description('send a CSV, NDJSON or JSON file to the running service')
    .argument('<file>', 'the file, or - for standard input')
    .option('--mapping <file>', 'which column becomes which part of an event (see below)')
    .addOption(
      new Option('--format <name>', 'the format, where the name of the file does not say').choices(INPUT_FORMATS),
    )
    .option('--delimiter <character>', 'between the fields of a CSV row; tab is a tabulator', delimiter, ',')
    .option('--rejects <file>', 'write rejected rows with their reasons there, as NDJSON')
    .option('--dry-run [count]', 'print the first events (5) instead of sending any', wholeNumber(1, 1_000_000))
    .option('--batch <rows>', 'events a request', wholeNumber(1, 1_000), 1_000)
    .option('--in-flight <batches>', 'requests under way at a time', wholeNumber(1, 64), 4)
    .option(
      '--retry-for <seconds>',
      'how long to try again while the service takes nothing',
      wholeNumber(0, 86_400),
      60,
    )
    .option('--no-progress', 'no progress on standard error')
    .addHelpText('after', IMPORT_HELP)
    .action(async (path: string, flags: ImportFlags) => {
      const exitCode = await runImportCommand(
        {
          path,
          mappingPath: flags.mapping,
          format: flags.format,
          delimiter: flags.delimiter,
          rejectsPath: flags.rejects,
          dryRun: flags.dryRun === true ? 5 : flags.dryRun,
          batchRows: flags.batch,
          batchesInFlight: flags.inFlight,
          retryForMs: flags.retryFor * 1000,
          json: flags.json,
          progress: flags.progress,
        },
        {
          service: serviceOf(flags, context, IMPORT_TIMEOUT_MS),
          terminal: context.terminal,
          stdin: context.stdin,
          stop: context.stop,
        },
      );
      done(exitCode);
    });
}

interface QueryFlags extends ServiceFlags {
  readonly format?: string;
  readonly param: ReadonlyMap<string, string>;
  readonly cellWidth: number;
}

function addQuery(program: Command, context: CliContext, done: (exitCode: ExitCode) => void): void {
  common(program.command('query'), context, 'print the answer in the format JSON')
    .description('ask the running service in SQL: tables raw_events and events')
    .argument('[sql]', 'one statement; from standard input when it is left out or -')
    .option('--format <name>', 'a ClickHouse format (JSON, CSVWithNames, Parquet, …), byte for byte', formatName)
    .option('--param <name=value>', 'a value for {name:Type} in the statement; may be repeated', parameter, new Map())
    .option('--cell-width <columns>', 'cut wider cells of the table (0: never)', wholeNumber(0, 100_000), CELL_COLUMNS)
    .action(async (sql: string | undefined, flags: QueryFlags) => {
      const exitCode = await runQueryCommand(
        {
          sql: await statementOf(sql, context),
          format: flags.format ?? (flags.json ? 'JSON' : undefined),
          parameters: flags.param,
          cellColumnsMax: flags.cellWidth,
        },
        serviceOf(flags, context, QUERY_TIMEOUT_MS),
        context.terminal,
        context.stop,
      );
      done(exitCode);
    });
}

interface DoctorFlags extends ServiceFlags {
  readonly config?: string;
  readonly dataDir?: string;
  readonly cut?: string;
  readonly restored: boolean;
  readonly save?: string;
}

function cutOf({ cut, save }: DoctorFlags): { readonly journal: string; readonly savePath: string } | undefined {
  if (cut === undefined && save === undefined) return undefined;
  if (cut !== undefined && save !== undefined) return { journal: cut, savePath: save };
  throw new CommandError(EXIT_CODE.usage, 'incomplete_cut', '--cut and --save go together.');
}

function addDoctor(program: Command, context: CliContext, done: (exitCode: ExitCode) => void): void {
  common(program.command('doctor'), context)
    .description('check the settings, the data folder, the limits of the machine, the service and the journals')
    .option('--config <file>', "the service's configuration file")
    .option('--data-dir <folder>', 'check this data folder instead of the one in the settings')
    .option('--cut <journal>', 'cut this damaged journal at its first damage; needs --save')
    .option(
      '--restored',
      'after a restore from a backup: retire the journals, so that no position is given twice',
      false,
    )
    .option('--save <file>', 'with --cut: write the events behind the damage there, as NDJSON')
    .action(async (flags: DoctorFlags) => {
      const exitCode = await runDoctorCommand(
        {
          configPath: flags.config,
          dataDir: flags.dataDir,
          cut: cutOf(flags),
          restored: flags.restored,
          json: flags.json,
        },
        {
          service: serviceOf(flags, context, HEALTH_TIMEOUT_MS),
          terminal: context.terminal,
          entry: INGESTION_ENTRY,
          environment: context.config.environment,
          bunPinned: context.bunPinned,
        },
      );
      done(exitCode);
    });
}

async function statementOf(sql: string | undefined, { stdin, stdinIsTty }: CliContext): Promise<string> {
  if (sql === undefined && stdinIsTty) throw noStatement();
  const text = sql === undefined || sql === '-' ? await new Response(stdin()).text() : sql;
  if (text.trim() === '') throw noStatement();
  return text;
}

function noStatement(): CommandError {
  return new CommandError(
    EXIT_CODE.usage,
    'no_statement',
    'There is no statement: weir query "SELECT count() FROM events"',
  );
}

function delimiter(text: string): string {
  if (text === 'tab' || text === '\\t') return '\t';
  if (text.length === 1 && !'"\r\n'.includes(text)) return text;
  throw new InvalidArgumentError('It must be one character, or tab.');
}

function formatName(text: string): string {
  if (/^[A-Za-z0-9_]{1,100}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be the name of a ClickHouse format, such as JSON or CSVWithNames.');
}

function parameter(text: string, before: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const split = text.indexOf('=');
  const name = text.slice(0, split);
  if (split < 1 || !/^\w{1,100}$/.test(name)) throw new InvalidArgumentError('It must be name=value.');
  return new Map(before).set(name, text.slice(split + 1));
}
