/** A client that posts singles and batches, and sends again what it got no answer for, under the same ids. */
import { select } from './audit.ts';
import { createEventMaker, type SentEvent } from './events.ts';
import { createHttpClient, type MaybeAnswer } from './http-client.ts';
import type { Ledger } from './ledger.ts';
import type { Seeded } from './seeded.ts';

export interface Writer {
  /** No new events; resolves once everything that was sent has its answer. */
  finish(): Promise<void>;
}

export interface WriterOptions {
  readonly url: string;
  readonly ledger: Ledger;
  readonly random: Seeded;
  readonly name: string;
  /** The longest pause between two requests, in milliseconds. */
  readonly pauseMsMax: number;
  readonly onAck?: () => void;
  /** True: an event whose fate is unknown is sometimes given up, as by a client that went away. */
  readonly givesUp?: boolean;
}

/** Even on a slow machine a service that is back answers everything in this time. */
export const FINISH_TIMEOUT_MS = 120_000;
export const GIVE_UP_SHARE = 0.03;
/** Events of which a writer sends another copy now and then. */
export const KNOWN_MAX = 200;
const RETRY_PAUSE_MS = 100;
const BATCH_EVENTS_MAX = 40;
const SINGLES_MAX = 5;

export function startHttpWriter(options: WriterOptions): Writer {
  const { ledger, random, name } = options;
  const client = createHttpClient(options.url, ledger);
  const maker = createEventMaker(random, name, name);
  /** One request after the other: what is accepted later stands later. */
  const order = ledger.newOrder(name);
  const again: SentEvent[] = [];
  const known: SentEvent[] = [];
  let requests = 0;
  let finishDeadline = Number.POSITIVE_INFINITY;
  let finishing = false;

  async function run(): Promise<void> {
    while (!finishing || again.length > 0) {
      if (performance.now() > finishDeadline)
        return ledger.broke(`${name}: ${again.length} events got no answer in ${FINISH_TIMEOUT_MS} ms`);
      if (!finishing && random.next() < 0.05) await postAtomic();
      const events = compose();
      const asSingles = random.next() < 0.4;
      if (asSingles) again.push(...events.splice(SINGLES_MAX));
      const before = again.length;
      if (asSingles) for (const event of events) await postSingle(event);
      else if (events.length > 0) await postBatch(events);
      await Bun.sleep(again.length > before ? RETRY_PAUSE_MS : random.integer(0, options.pauseMsMax));
    }
  }

  function compose(): SentEvent[] {
    const events = again.splice(0, BATCH_EVENTS_MAX / 2);
    if (finishing) return events;
    const count = random.integer(1, BATCH_EVENTS_MAX - events.length);
    for (let at = 0; at < count; at++) {
      const choice = random.next();
      if (choice < 0.05) events.push(maker.bad());
      else if (choice < 0.15 && known.length > 0) events.push(random.pick(known));
      else events.push(remember(maker.good()));
    }
    // The same event twice in one batch.
    if (random.next() < 0.2) events.push(random.pick(events));
    return events;
  }

  function remember(event: SentEvent): SentEvent {
    if (known.length < KNOWN_MAX) known.push(event);
    else known[random.integer(0, KNOWN_MAX - 1)] = event;
    return event;
  }

  /** Sent once, whatever the answer: then all of them must be stored, or none. */
  async function postAtomic(): Promise<void> {
    const events = Array.from({ length: random.integer(2, BATCH_EVENTS_MAX) }, maker.good);
    const flawed = random.next() < 0.3;
    if (flawed) events[random.integer(0, events.length - 1)] = maker.bad();
    ledger.sentTogether({ keys: events.map(({ key }) => key), may: flawed ? 'none' : 'all or none' });
    const status = await client.atomic(events);
    if (status === undefined || status === 503) return;
    if (status !== (flawed ? 422 : 202))
      ledger.broke(`a${flawed ? ' flawed' : ''} batch with failOnError got ${status}`);
    if (status === 202) for (const event of events) ledger.answered(event, { kind: 'accepted' });
  }

  /** `stored` is a promise about this very moment: so the store is asked at once. */
  async function postForStore(event: SentEvent): Promise<void> {
    const answer = await client.single(event, 'stored');
    settle(event, answer);
    if (answer === undefined || !('level' in answer) || answer.level !== 'stored') return;
    const [storeId, eventId] = event.key.split('/');
    const sql = `SELECT count() FROM raw_events WHERE storeId = '${storeId}' AND eventId = '${eventId}'`;
    const [row] = await select<[number]>(options.url, sql);
    if (row?.[0] !== 1) ledger.broke(`${event.key} was called stored while the store had it ${row?.[0]} times`);
  }

  async function postSingle(event: SentEvent): Promise<void> {
    requests += 1;
    const sentAs = requests;
    if (event.digest !== undefined && random.next() < 0.05) return postForStore(event);
    // Now and then two copies at once, on two connections.
    if (random.next() < 0.15) {
      const answers = await Promise.all([client.single(event), client.single(event)]);
      for (const answer of answers) settle(event, answer);
      return;
    }
    const answer = await client.single(event);
    settle(event, answer);
    if (answer?.kind === 'accepted' && answer.position !== undefined) order.accepted(sentAs, answer.position);
  }

  async function postBatch(events: readonly SentEvent[]): Promise<void> {
    const answers = await client.batch(events, random.next() < 0.5 ? 'lines' : 'json');
    for (const [at, event] of events.entries()) settle(event, answers[at]);
  }

  function settle(event: SentEvent, answer: MaybeAnswer): void {
    if (answer !== undefined && answer.kind !== 'retry') options.onAck?.();
    else if (options.givesUp !== true || random.next() > GIVE_UP_SHARE) again.push(event);
  }

  const done = run();
  return {
    finish() {
      finishing = true;
      finishDeadline = performance.now() + FINISH_TIMEOUT_MS;
      return done;
    },
  };
}
