/** GET /reconcile: whether everything that was acknowledged is where it should be. */
import { HttpError } from '@libs/elysia-server';
import type { Elysia } from 'elysia';
import type { ReconcileCounts, ReconcileReport, ReconcileRow } from '../operator-requests.ts';
import type { RouteDeps } from './deps.ts';
import { guarded } from './guard.ts';
import { RECONCILE_DETAIL } from './openapi-reconcile.ts';
import type { OperatorClient } from './operators-client.ts';
import { FLAG, readQuery, time } from './operators-parameters.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
const INTERVAL_MS_MAX = 366 * 24 * HOUR_MS;
const TIMEOUT_MS = 120_000;

const QUERY = { from: time.optional(), to: time.optional(), deep: FLAG.optional() };

export function reconcileRoutes(app: Elysia, { protect }: RouteDeps, operators: OperatorClient): void {
  async function reconcile(request: Request): Promise<Response> {
    const { from, to, deep = false } = readQuery(request, QUERY);
    const toMs = to ?? Date.now();
    const fromMs = from ?? Math.max(0, toMs - HOUR_MS);
    if (fromMs >= toMs || toMs - fromMs > INTERVAL_MS_MAX) throw invalidInterval();
    const minutes = {
      fromMs: Math.floor(fromMs / MINUTE_MS) * MINUTE_MS,
      toMs: Math.ceil(toMs / MINUTE_MS) * MINUTE_MS,
    };
    return Response.json(replyOf(await operators.askFor(request, 'reconcile', { ...minutes, deep }, TIMEOUT_MS)));
  }

  app.get('/reconcile', guarded(protect, 'operate', reconcile), { detail: RECONCILE_DETAIL });
}

function invalidInterval(): HttpError {
  return new HttpError(400, 'invalid_parameter', 'The interval must begin before it ends, and have 366 days at most.', {
    details: { parameter: 'from', allowed: ['a time before to, by 366 days at most'] },
  });
}

interface Balance extends ReconcileCounts {
  /** Acknowledged, but in none of the four places; negative: more than was acknowledged. */
  readonly difference: number;
}

interface Balanced {
  readonly acknowledged: number;
  readonly sinks: Readonly<Record<string, Balance>>;
}

/** Adds up by type and in all, and says by name where a sum does not come out. */
function replyOf({ fromMs, toMs, rows, sources, caveats }: ReconcileReport) {
  const eventTypes = rows.map((row) => ({ eventType: row.eventType, ...balanceOf(row) }));
  const discrepancies = eventTypes.flatMap(({ eventType, sinks }) =>
    Object.entries(sinks).flatMap(([sink, { difference }]) =>
      difference === 0 ? [] : [{ eventType, sink, difference, message: wordsFor(eventType, sink, difference) }],
    ),
  );
  return {
    from: new Date(fromMs).toISOString(),
    to: new Date(toMs).toISOString(),
    balanced: discrepancies.length === 0,
    discrepancies,
    total: balanceOf(sumOf(rows)),
    eventTypes,
    sources,
    caveats,
  };
}

function balanceOf({ acknowledged, sinks }: Pick<ReconcileRow, 'acknowledged' | 'sinks'>): Balanced {
  const balances = Object.entries(sinks).map(([sink, counts]): [string, Balance] => {
    const { acknowledged: owed, stored, deadLettered, deleted, pending } = counts;
    return [sink, { ...counts, difference: owed - stored - deadLettered - deleted - pending }];
  });
  return { acknowledged, sinks: Object.fromEntries(balances) };
}

function sumOf(rows: readonly ReconcileRow[]): Pick<ReconcileRow, 'acknowledged' | 'sinks'> {
  const sinks: Record<string, ReconcileCounts> = {};
  for (const [sink, counts] of rows.flatMap((row) => Object.entries(row.sinks))) {
    const sum = sinks[sink];
    sinks[sink] = {
      acknowledged: (sum?.acknowledged ?? 0) + counts.acknowledged,
      stored: (sum?.stored ?? 0) + counts.stored,
      deadLettered: (sum?.deadLettered ?? 0) + counts.deadLettered,
      deleted: (sum?.deleted ?? 0) + counts.deleted,
      pending: (sum?.pending ?? 0) + counts.pending,
      duplicates: (sum?.duplicates ?? 0) + counts.duplicates,
    };
  }
  return { acknowledged: rows.reduce((sum, row) => sum + row.acknowledged, 0), sinks };
}

function wordsFor(eventType: string, sink: string, difference: number): string {
  return difference > 0
    ? `${difference} acknowledged ${eventType} are neither in ${sink}, nor dead letters, nor pending.`
    : `${sink} accounts for ${-difference} more ${eventType} than were acknowledged.`;
}
