/** `weir dlq`: dead letters, looked at, sent again, deleted. */
import { CommandError, EXIT_CODE, type ExitCode } from '../exit-code.ts';
import { formatCount, type Terminal } from '../terminal.ts';
import { formatColumns } from './columns.ts';
import { type OperatorService, pathWith } from './operator-service.ts';

/** As the service takes them; all that are given must fit. */
export interface LetterFilter {
  readonly sink?: string | undefined;
  readonly eventType?: string | undefined;
  readonly storeId?: string | undefined;
  readonly code?: string | undefined;
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

export interface LetterSelection {
  readonly ids: readonly number[];
  readonly filter: LetterFilter;
  readonly all: boolean;
}

interface Letter {
  readonly id: number;
  readonly kind: string;
  readonly sink: string;
  readonly eventType?: string;
  readonly storeId?: string;
  readonly eventId?: string;
  readonly events?: number;
  readonly code: string;
  readonly message: string;
  readonly attempts: number;
  readonly firstFailedAt: string;
}

interface LetterPage {
  readonly deadLetters: readonly Letter[];
  readonly next: number | null;
}

interface Replayed {
  readonly replayed: number;
  readonly failed: number;
  readonly results: readonly {
    readonly id: number;
    readonly outcome: string;
    readonly code?: string;
    readonly message?: string;
  }[];
}

interface Output {
  readonly terminal: Terminal;
  readonly json: boolean;
}

const PAGE_LETTERS = 100;
/** Failures that are named; the rest is counted. */
const FAILURES_SHOWN = 20;

export async function listLetters(
  operators: OperatorService,
  filter: LetterFilter,
  limit: number,
  { terminal, json }: Output,
): Promise<ExitCode> {
  const letters: Letter[] = [];
  let next: number | null = 0;
  while (next !== null && letters.length < limit) {
    const page: LetterPage = await pageOf(operators, filter, next, Math.min(PAGE_LETTERS, limit - letters.length));
    letters.push(...page.deadLetters);
    next = page.next;
  }
  await terminal.out(json ? `${JSON.stringify({ deadLetters: letters, next })}\n` : tableOf(letters, next !== null));
  return EXIT_CODE.ok;
}

function pageOf(operators: OperatorService, filter: LetterFilter, after: number, limit: number): Promise<LetterPage> {
  return operators.ask('GET', pathWith('/dead-letters', { ...filter, after, limit }));
}

function tableOf(letters: readonly Letter[], isMore: boolean): string {
  if (letters.length === 0) return 'No dead letters.\n';
  const rows = letters.map((one) => [
    String(one.id),
    one.sink,
    one.kind === 'range' ? `${formatCount(one.events ?? 0)} events` : one.eventType,
    one.storeId,
    one.eventId,
    one.code,
    one.attempts,
    one.firstFailedAt,
  ]);
  const names = ['id', 'sink', 'type', 'store', 'event', 'code', 'attempts', 'first failed'];
  return `${formatColumns(names, rows)}${isMore ? '(there are more: raise --limit)\n' : ''}`;
}

export async function showLetter(operators: OperatorService, id: number, { terminal }: Output): Promise<ExitCode> {
  const letter = await operators.ask<unknown>('GET', `/dead-letters/${id}`);
  // JSON escapes what would steer the terminal, but for the marks of DEL and above.
  await terminal.out(`${JSON.stringify(letter, null, 2).replace(UNSAFE, escaped)}\n`);
  return EXIT_CODE.ok;
}

const UNSAFE = /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * Each letter that fits is tried once. By filter they are asked for page by page, so that those which fail again do not
 * stand before the others for ever.
 */
export async function replayLetters(
  operators: OperatorService,
  selection: LetterSelection,
  { terminal, json }: Output,
): Promise<ExitCode> {
  requireSelection(selection);
  let replayed = 0;
  const failures: Replayed['results'][number][] = [];
  for await (const ids of idsOf(operators, selection)) {
    const part = await operators.ask<Replayed>('POST', '/dead-letters/replay', { ids });
    replayed += part.replayed;
    failures.push(...part.results.filter(({ outcome }) => outcome !== 'replayed'));
  }
  if (json) await terminal.out(`${JSON.stringify({ replayed, failed: failures.length, failures })}\n`);
  else await terminal.out(replayText(replayed, failures));
  return failures.length === 0 ? EXIT_CODE.ok : EXIT_CODE.failed;
}

async function* idsOf(operators: OperatorService, { ids, filter }: LetterSelection): AsyncGenerator<readonly number[]> {
  if (ids.length > 0) {
    for (let at = 0; at < ids.length; at += PAGE_LETTERS) yield ids.slice(at, at + PAGE_LETTERS);
    return;
  }
  let next: number | null = 0;
  while (next !== null) {
    const page: LetterPage = await pageOf(operators, filter, next, PAGE_LETTERS);
    if (page.deadLetters.length > 0) yield page.deadLetters.map(({ id }) => id);
    next = page.next;
  }
}

function replayText(replayed: number, failures: readonly Replayed['results'][number][]): string {
  const count = `${formatCount(replayed)} replayed, ${formatCount(failures.length)} failed.\n`;
  if (failures.length === 0) return count;
  const rows = failures.slice(0, FAILURES_SHOWN).map((one) => [String(one.id), one.code ?? one.outcome, one.message]);
  const more = failures.length > FAILURES_SHOWN ? '(and more: --json names them all)\n' : '';
  return `${count}${formatColumns(['id', 'code', 'why'], rows)}${more}`;
}

export async function deleteLetters(
  operators: OperatorService,
  selection: LetterSelection,
  { terminal, json }: Output,
): Promise<ExitCode> {
  requireSelection(selection);
  let deleted = 0;
  if (selection.ids.length === 0) {
    const all = selection.all ? 'true' : undefined;
    ({ deleted } = await operators.ask<{ deleted: number }>(
      'DELETE',
      pathWith('/dead-letters', { ...selection.filter, all }),
    ));
  }
  for await (const ids of selection.ids.length === 0 ? [] : idsOf(operators, selection)) {
    const path = `/dead-letters?${ids.map((id) => `id=${id}`).join('&')}`;
    deleted += (await operators.ask<{ deleted: number }>('DELETE', path)).deleted;
  }
  await terminal.out(json ? `${JSON.stringify({ deleted })}\n` : `${formatCount(deleted)} deleted.\n`);
  return EXIT_CODE.ok;
}

function requireSelection({ ids, filter, all }: LetterSelection): void {
  const isFiltered = Object.values(filter).some((value) => value !== undefined);
  const ways = [ids.length > 0, isFiltered, all].filter(Boolean).length;
  if (ways === 1) return;
  throw new CommandError(
    EXIT_CODE.usage,
    'selection_required',
    ways === 0
      ? 'Name ids, at least one filter (--sink, --code, …), or --all.'
      : 'Name either ids, or filters, or --all: together they would mean less than they seem to.',
  );
}
