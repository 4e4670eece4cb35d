/** The service with downstream services that fail, and what each of them must have got. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Arrival, type DownstreamServer, startDownstreamServer } from './downstream-server.ts';
import { type HeldRow, positionOf } from './kafka-audit.ts';
import type { OutageRun } from './outage-run.ts';
import { cleanUp, temporaryFolder } from './service.ts';

export interface ListedLetter {
  readonly id: number;
  readonly kind: 'row' | 'range';
  readonly sink: string;
  /** Of the row, or of the range's first one. */
  readonly position: string;
  readonly code: string;
  readonly message: string;
}

const PAGE_LETTERS = 100;
const NAMED_MAX = 5;
const servers = new Set<DownstreamServer>();

export async function downstreamServer(): Promise<DownstreamServer> {
  const server = await startDownstreamServer();
  servers.add(server);
  return server;
}

/** A configuration file with these downstream services; resolves to the settings that name it. */
export function configured(downstreams: Readonly<Record<string, object>>): Readonly<Record<string, string>> {
  const file = join(temporaryFolder(), 'weir.json');
  writeFileSync(file, JSON.stringify({ downstreams }));
  return { WEIR_CONFIG: file };
}

/** All dead letters of a sink. */
export async function lettersOf(run: OutageRun, sink: string): Promise<ListedLetter[]> {
  const letters: ListedLetter[] = [];
  for (let after: number | null = 0; after !== null; ) {
    const page: { deadLetters: ListedLetter[]; next: number | null } = await run.ask(
      `/dead-letters?sink=${sink}&after=${after}&limit=${PAGE_LETTERS}`,
    );
    letters.push(...page.deadLetters);
    after = page.next;
  }
  return letters;
}

export interface DownstreamRules {
  readonly eventTypes: readonly string[];
  /** Positions of dead letters: these may be missing. */
  readonly letters?: ReadonlySet<string>;
  /** Each session's events are taken in order. */
  readonly inOrder?: boolean;
  /** May have come before those that are in order: replayed ones, for instance. */
  readonly replayed?: ReadonlySet<string>;
}

/** Broken promises of one downstream service, as sentences. */
export function compareDownstream(
  held: readonly HeldRow[],
  arrivals: readonly Arrival[],
  { eventTypes, letters, inOrder = false, replayed }: DownstreamRules,
): string[] {
  const broken: string[] = [];
  const rows = new Map(held.map((row) => [positionOf(row), row]));
  const taken = new Map<string, number>();
  for (const [at, { key, row, isTaken }] of arrivals.entries()) {
    const position = `${row['journal']}:${row['seq']}`;
    const found = rows.get(position);
    if (found === undefined) broken.push(`sent and not in the store: ${position}`);
    else if (!eventTypes.includes(found.eventType)) broken.push(`of a type that it does not get: ${position}`);
    if (key !== row['eventId']) broken.push(`another Idempotency-Key than the id: ${key}, ${row['eventId']}`);
    if (isTaken && !taken.has(position)) taken.set(position, at);
  }
  const due = held.filter(({ eventType }) => eventTypes.includes(eventType));
  for (const row of due) {
    const position = positionOf(row);
    if (!taken.has(position) && letters?.has(position) !== true)
      broken.push(`neither taken nor a dead letter: ${position}`);
  }
  if (inOrder)
    for (const [session, all] of Map.groupBy(due, ({ sessionId }) => sessionId)) {
      const first = all
        .filter((row) => replayed?.has(positionOf(row)) !== true)
        .toSorted((a, b) => a.seq - b.seq)
        .flatMap((row) => taken.get(positionOf(row)) ?? []);
      const at = first.findIndex((place, index) => index > 0 && place < (first[index - 1] as number));
      if (at > 0) broken.push(`out of order: session ${session}`);
    }
  return broken.length > NAMED_MAX ? [...broken.slice(0, NAMED_MAX), `${broken.length - NAMED_MAX} more`] : broken;
}

/** For `afterEach`: ends everything that was started here. */
export async function cleanUpDownstream(): Promise<void> {
  await cleanUp();
  for (const server of servers) await server.close();
  servers.clear();
}
