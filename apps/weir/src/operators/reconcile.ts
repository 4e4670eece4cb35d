/** `weir reconcile`: does it all add up. */
import { EXIT_CODE, type ExitCode } from '../exit-code.ts';
import { printable, type Terminal } from '../terminal.ts';
import { formatColumns, type Value } from './columns.ts';
import { type OperatorService, pathWith } from './operator-service.ts';

interface Balance {
  readonly acknowledged: number;
  readonly stored: number;
  readonly deadLettered: number;
  readonly deleted: number;
  readonly pending: number;
  readonly duplicates: number;
  readonly difference: number;
}

interface Balances {
  readonly acknowledged: number;
  readonly sinks: Readonly<Record<string, Balance>>;
}

interface Reconciled {
  readonly from: string;
  readonly to: string;
  readonly balanced: boolean;
  readonly discrepancies: readonly { readonly message: string }[];
  readonly total: Balances;
  readonly eventTypes: readonly (Balances & { readonly eventType: string })[];
  readonly sources: Readonly<Record<string, string>>;
  readonly caveats: readonly string[];
}

export interface ReconcileInterval {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly deep: boolean;
}

/** Exit code 1 when something is missing. */
export async function reconcile(
  operators: OperatorService,
  { from, to, deep }: ReconcileInterval,
  { terminal, json }: { readonly terminal: Terminal; readonly json: boolean },
): Promise<ExitCode> {
  const path = pathWith('/reconcile', { from, to, deep: deep ? 'true' : undefined });
  const reconciled = await operators.ask<Reconciled>('GET', path);
  await terminal.out(json ? `${JSON.stringify(reconciled)}\n` : textOf(reconciled));
  return reconciled.balanced ? EXIT_CODE.ok : EXIT_CODE.failed;
}

function textOf({ from, to, balanced, discrepancies, total, eventTypes, sources, caveats }: Reconciled): string {
  const rows = [...eventTypes, { eventType: 'all', ...total }].flatMap(rowsOf);
  const names = [
    'type',
    'sink',
    'acknowledged',
    'stored',
    'dead letters',
    'deleted',
    'pending',
    'difference',
    'duplicates',
  ];
  const verdict = balanced ? 'Everything adds up.' : 'It does not add up:';
  const lines = [
    ...(balanced ? [] : discrepancies.map(({ message }) => `  ${message}`)),
    ...caveats.map((caveat) => `Note: ${caveat}`),
    ...Object.entries(sources).map(([sink, source]) => `${sink}: ${source}`),
  ];
  return `From ${from} to ${to}\n${formatColumns(names, rows)}${[verdict, ...lines.map(printable)].join('\n')}\n`;
}

function rowsOf({ eventType, sinks }: Balances & { readonly eventType: string }): Value[][] {
  return Object.entries(sinks).map(([sink, one]) => [
    eventType,
    sink,
    one.acknowledged,
    one.stored,
    one.deadLettered,
    one.deleted,
    one.pending,
    one.difference,
    one.duplicates,
  ]);
}
