/**
 * 1. The path of an event, as far as its sender sees it.
 *
 * A `Source` (an HTTP server, a socket, a feed) owns the wire. It turns what arrives into records and hands them to
 * `accept`, which knows nothing of wires. `accept` answers with one `Outcome` for each record, in order, and the source
 * says that in its own words. Bad data is an outcome, too: an exception here means that Weir itself is broken.
 *
 * The little pipeline below keeps its journal in an array. The real one is a file, and the difference is what an ack
 * is worth.
 */
import { expect, test } from 'bun:test';
import { type Accept, formatPosition, type Outcome, type Source } from '../src/index.ts';

interface Shelf {
  readonly rows: string[];
  isFull: boolean;
}

function acceptOnto(shelf: Shelf): Accept {
  return async (records) =>
    records.map((record): Outcome => {
      if (typeof record !== 'string') {
        return { kind: 'rejected', code: 'invalid_type', field: '', message: 'an event is a text here' };
      }
      if (shelf.rows.includes(record)) return { kind: 'duplicate', level: 'journal' };
      if (shelf.isFull) return { kind: 'retry', code: 'journal_full', message: 'no room', afterMs: 5_000 };
      const seq = shelf.rows.push(record);
      return { kind: 'accepted', level: 'journal', journal: 'shelf', seq };
    });
}

/** How a source puts an outcome into words: the compiler sees to it that no kind is forgotten. */
function inWords(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'accepted':
      return `yes, at ${formatPosition(outcome)}`;
    case 'duplicate':
      return 'yes, already';
    case 'rejected':
      return `never: ${outcome.code}`;
    case 'retry':
      return `again in ${outcome.afterMs} ms`;
  }
}

test('every record gets one outcome, in the order in which the records came', async () => {
  const accept = acceptOnto({ rows: [], isFull: false });
  const outcomes = await accept(['a', 7, 'b', 'a'], { ack: 'journal' });
  expect(outcomes.map(inWords)).toEqual(['yes, at shelf:1', 'never: invalid_type', 'yes, at shelf:2', 'yes, already']);
});

test('a journal that is full refuses what is new and nothing else, and says when to come back', async () => {
  const shelf = { rows: ['a'], isFull: true };
  const outcomes = await acceptOnto(shelf)(['a', 'b', 7], { ack: 'journal' });
  expect(outcomes.map(inWords)).toEqual(['yes, already', 'again in 5000 ms', 'never: invalid_type']);
  shelf.isFull = false;
  expect((await acceptOnto(shelf)(['b'], { ack: 'journal' })).map(inWords)).toEqual(['yes, at shelf:2']);
});

test('a source that stops takes nothing new, but answers what it took', async () => {
  const answers: string[] = [];
  let pending: Promise<void> = Promise.resolve();
  let open = false;
  let take: (line: string) => void = () => undefined;
  const source: Source = {
    name: 'lines',
    async start(accept) {
      open = true;
      take = (line) => {
        if (!open) return;
        pending = accept([line], { ack: 'journal' }).then(([outcome]) => {
          answers.push(inWords(outcome as Outcome));
        });
      };
    },
    async stop() {
      open = false;
      await pending;
    },
  };
  await source.start(acceptOnto({ rows: [], isFull: false }));
  take('a');
  await source.stop();
  take('b');
  expect(answers).toEqual(['yes, at shelf:1']);
});
