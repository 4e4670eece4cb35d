#!/usr/bin/env bun
/** The command line: reads the environment, runs one command, ends with its exit code. */
import { CommanderError } from 'commander';
import workspace from '../../../package.json';
import { createCli } from './cli.ts';
import { readConfig } from './config.ts';
import { CommandError, EXIT_CODE, type ExitCode } from './exit-code.ts';
import { Unreachable } from './service.ts';
import { createTerminal, printable } from './terminal.ts';

const terminal = createTerminal(process.stdout, process.stderr);
const stop = new AbortController();

async function run(): Promise<ExitCode> {
  let exitCode: ExitCode = EXIT_CODE.ok;
  const cli = createCli(
    {
      config: readConfig(),
      terminal,
      stdin: () => Bun.stdin.stream(),
      stdinIsTty: process.stdin.isTTY === true,
      stop: stop.signal,
      version: workspace.version,
      bunPinned: workspace.devDependencies.bun,
    },
    (code) => {
      exitCode = code;
    },
  );
  try {
    await cli.parseAsync(process.argv);
    return exitCode;
  } catch (error) {
    return explain(error);
  }
}

/** Says what went wrong where nobody has yet. Our own bugs keep their stack. */
function explain(error: unknown): ExitCode {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT_CODE.ok : EXIT_CODE.usage;
  // The reader of a pipe (head, less) has seen enough.
  if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return EXIT_CODE.ok;
  if (error instanceof Unreachable)
    return say(EXIT_CODE.unreachable, 'unreachable', `${error.message}. Is it running?`, []);
  if (error instanceof CommandError) return say(error.exitCode, error.code, error.message, error.problems);
  throw error;
}

function say(exitCode: ExitCode, code: string, message: string, problems: readonly string[]): ExitCode {
  if (process.argv.includes('--json')) {
    terminal.err(`${JSON.stringify({ error: code, message, ...(problems.length > 0 ? { problems } : {}) })}\n`);
  } else terminal.err([message, ...problems.map((problem) => `  ${printable(problem)}`), ''].join('\n'));
  return exitCode;
}

function onSignal(): void {
  // Asked twice, it ends at once.
  if (stop.signal.aborted) process.exit(EXIT_CODE.interrupted);
  stop.abort(new CommandError(EXIT_CODE.interrupted, 'interrupted', 'Interrupted.'));
}

process.on('SIGINT', onSignal);
process.on('SIGTERM', onSignal);
// A broken pipe is reported by the write that meets it.
process.stdout.on('error', () => undefined);
process.exit(await run());
