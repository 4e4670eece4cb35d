/** `weir sink`: where events go, and how to part with a sink that was taken out of the configuration. */
import { EXIT_CODE, type ExitCode } from '../exit-code.ts';
import { formatCount, printable, type Terminal } from '../terminal.ts';
import { formatColumns } from './columns.ts';
import type { OperatorService } from './operator-service.ts';

interface SinkList {
  readonly sinks: readonly {
    readonly name: string;
    readonly removed: boolean;
    readonly state?: string;
    readonly stopped?: string;
    readonly lastError?: string;
    readonly pendingEvents?: number;
    readonly deadLetters?: number;
  }[];
}

interface Output {
  readonly terminal: Terminal;
  readonly json: boolean;
}

export async function listSinks(operators: OperatorService, { terminal, json }: Output): Promise<ExitCode> {
  const list = await operators.ask<SinkList>('GET', '/sinks');
  const rows = list.sinks.map((sink) => [
    sink.name,
    sink.removed ? 'removed' : sink.stopped === undefined ? sink.state : 'stopped',
    sink.pendingEvents,
    sink.deadLetters,
    sink.stopped ?? sink.lastError ?? '',
  ]);
  const names = ['sink', 'state', 'pending', 'dead letters', 'last error'];
  await terminal.out(json ? `${JSON.stringify(list)}\n` : formatColumns(names, rows));
  return EXIT_CODE.ok;
}

export async function dropSink(
  operators: OperatorService,
  name: string,
  { terminal, json }: Output,
): Promise<ExitCode> {
  const dropped = await operators.ask<{ pendingEvents: number }>('DELETE', `/sinks/${encodeURIComponent(name)}`);
  const text = `${printable(name)} is dropped; it had not had ${formatCount(dropped.pendingEvents)} events.\n`;
  await terminal.out(json ? `${JSON.stringify(dropped)}\n` : text);
  return EXIT_CODE.ok;
}
