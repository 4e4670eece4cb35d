/** A client that posts singles and batches, and sends again what it got no answer for, under the same ids. */
import { select } from './audit.ts';
import type { Copies } from './copies.ts';
import { createEventMaker, type SentEvent } from './events.ts';
import { createHttpClient, type HttpClient, type MaybeAnswer } from './http-client.ts';
import type { Ledger } from './ledger.ts';
import type { Seeded } from './seeded.ts';

export interface Writer {
  /** No new events; resolves once everything that was sent has its answer. */
  finish(): Promise<void>;
}

export interface WriterOptions {
  /** Of the instances: what one of them does not answer for good goes to the next. */
  readonly urls: readonly string[];
  readonly copies: Copies;
  readonly ledger: Ledger;
  readonly random: Seeded;
  readonly name: string;
  /** The longest pause between two requests, in milliseconds. */
  readonly pauseMsMax: number;
  readonly onAck?: () => void;
  /** True: an event whose fate is unknown is sometimes given up, as by a client that went away. */
  readonly givesUp?: boolean;
  /** Of what is sent, so much is another copy. Default 0.1. */
  readonly copiesShare?: number;
  /** Every request on a connection of its own. */
  readonly fresh?: boolean;
}

/** Even on a slow machine a service that is back answers everything in this time. */
export const FINISH_TIMEOUT_MS = 120_000;
export const GIVE_UP_SHARE = 0.03;
export const COPIES_SHARE = 0.1;
const RETRY_PAUSE_MS = 100;
const BATCH_EVENTS_MAX = 40;
const SINGLES_MAX = 5;

export function startHttpWriter(options: WriterOptions): Writer {
  const { ledger, random, name, urls, copies, copiesShare = COPIES_SHARE } = options;
  const clients = urls.map((url) => createHttpClient(url, ledger, options));
  const maker = createEventMaker(random, name, name);
  /** One request after the other: what is accepted later stands later. */
  const order = ledger.newOrder(name);
  /** By the instance that is asked next. */
  const again = urls.map((): SentEvent[] => []);
  let requests = 0;
  let finishDeadline = Number.POSITIVE_INFINITY;
  let finishing = false;

  async function run(): Promise<void> {
    while (!finishing || open() > 0) {
      if (performance.now() > finishDeadline)
        return ledger.broke(`${name}: ${open()} events got no answer in ${FINISH_TIMEOUT_MS} ms`);
      const at = random.integer(0, urls.length - 1);
      if (!finishing && random.next() < 0.05) await postAtomic(at);
      const events = compose(at);
      const asSingles = random.next() < 0.4;
      if (asSingles) again[at]?.push(...events.splice(SINGLES_MAX));
      const before = open();
      if (asSingles) for (const event of events) await postSingle(event, at);
      else if (events.length > 0) await postBatch(events, at);
      await Bun.sleep(open() > before ? RETRY_PAUSE_MS : random.integer(0, options.pauseMsMax));
    }
  }

  /** Events that have no answer for good. */
  function open(): number {
    return again.reduce((sum, events) => sum + events.length, 0);
  }

  function compose(at: number): SentEvent[] {
    const events = again[at]?.splice(0, BATCH_EVENTS_MAX / 2) ?? [];
    if (finishing) return events;
    const count = random.integer(1, BATCH_EVENTS_MAX - events.length);
    for (let n = 0; n < count; n++) {
      const choice = random.next();
      const copy = choice > 1 - copiesShare ? copies.pick(at) : undefined;
      const event = copy ?? (choice < 0.05 ? maker.bad() : maker.good());
      if (event.digest !== undefined) copies.remember(event, at);
      events.push(event);
    }
    // The same event twice in one batch.
    if (random.next() < 0.2) events.push(random.pick(events));
    return events;
  }

  /** Sent once, whatever the answer: then all of them must be stored, or none. */
  async function postAtomic(at: number): Promise<void> {
    const events = Array.from({ length: random.integer(2, BATCH_EVENTS_MAX) }, maker.good);
    const flawed = random.next() < 0.3;
    if (flawed) events[random.integer(0, events.length - 1)] = maker.bad();
    ledger.sentTogether({ keys: events.map(({ key }) => key), may: flawed ? 'none' : 'all or none' });
    const status = await clientOf(at).atomic(events);
    if (status === undefined || status === 503) return;
    if (status !== (flawed ? 422 : 202))
      ledger.broke(`a${flawed ? ' flawed' : ''} batch with failOnError got ${status}`);
    if (status === 202) for (const event of events) ledger.answered(event, { kind: 'accepted' });
  }

  /** `stored` is a promise about this very moment: so the store is asked at once. */
  async function postForStore(event: SentEvent, at: number): Promise<void> {
    const answer = await clientOf(at).single(event, 'stored');
    settle(event, answer, at);
    if (answer === undefined || !('level' in answer) || answer.level !== 'stored') return;
    const [storeId, eventId] = event.key.split('/');
    const sql = `SELECT count() FROM raw_events WHERE storeId = '${storeId}' AND eventId = '${eventId}'`;
    const [row] = await select<[number]>(urls[at] as string, sql);
    // Another instance may have a copy that the audit judges.
    const count = Number(row?.[0]);
    if (count === 0 || (count > 1 && urls.length === 1))
      ledger.broke(`${event.key} was called stored while the store had it ${count} times`);
  }

  async function postSingle(event: SentEvent, at: number): Promise<void> {
    requests += 1;
    const sentAs = requests;
    if (event.digest !== undefined && random.next() < 0.05) return postForStore(event, at);
    // Now and then two copies at once, on two connections.
    if (random.next() < 0.15) {
      const answers = await Promise.all([clientOf(at).single(event), clientOf(at).single(event)]);
      for (const answer of answers) settle(event, answer, at);
      return;
    }
    const answer = await clientOf(at).single(event);
    settle(event, answer, at);
    if (answer?.kind === 'accepted' && answer.position !== undefined) order.accepted(sentAs, answer.position);
  }

  async function postBatch(events: readonly SentEvent[], at: number): Promise<void> {
    const answers = await clientOf(at).batch(events, random.next() < 0.5 ? 'lines' : 'json');
    for (const [n, event] of events.entries()) settle(event, answers[n], at);
  }

  function settle(event: SentEvent, answer: MaybeAnswer, at: number): void {
    if (answer !== undefined && answer.kind !== 'retry') options.onAck?.();
    else if (options.givesUp !== true || random.next() > GIVE_UP_SHARE) again[(at + 1) % urls.length]?.push(event);
  }

  function clientOf(at: number): HttpClient {
    return clients[at] as HttpClient;
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
