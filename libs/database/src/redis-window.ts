/**
 * The dedupe window that processes and instances share. An id is claimed before its event is written and confirmed
 * once the event is durable, so that `duplicate` is never said of an event that may yet be lost.
 *
 * Who crashed between claim and write: its claim stays open until it expires, and everybody else gets `busy` for as
 * long. The same journal's next process takes such a claim over at once: its own journal is asked first, so an id that
 * reaches this window stands in no durable frame of it, and the process that made the claim is dead (a journal has one
 * process, held by a lock). Owner is therefore the journal, epoch the process: claims are taken over by owner, and
 * released only by owner and epoch, so that a command of a dead process that is executed late cannot open a gap.
 *
 * Without Redis nothing is refused and nobody waits: verdicts are `skipped`. Such a call may still have claimed, so
 * what was appended must be confirmed, and what was not must be released, whatever the verdict was.
 *
 * Supported is one primary, with or without replicas, behind an address that leads to the present one. In Redis
 * Cluster the ids of one call would lie on many nodes; it is recognised and reported, and the window is skipped.
 */
import { type CopyElsewhere, journalTag, Retryable, sleep } from '@libs/pipeline';
import { createBacklog } from './redis-backlog.ts';
import type { RedisConnectionOptions } from './redis-connection.ts';
import { createLine, type Load } from './redis-line.ts';
import type { SkipReason } from './redis-problem.ts';
import { readVerdicts } from './redis-script.ts';
import { type ClaimVerdict, SKIPPED } from './redis-verdict.ts';
import {
  createCounters,
  createOutageLog,
  type WindowHealth,
  type WindowLogger,
  windowState,
} from './redis-window-health.ts';

export interface SharedWindowOptions extends Omit<RedisConnectionOptions, 'clientName'> {
  /** The journal's UUID: letters, digits and hyphens. */
  readonly owner: string;
  /** Names this start of the process, such as its time in milliseconds. */
  readonly epoch: string;
  /** A call that is not answered within this many milliseconds is skipped, not counting what our own event loop stood still. Default 50. */
  readonly timeoutMs?: number;
  /**
   * The owner's durable end: others are told with the verdict `duplicate` that the event is not beyond it. Asked as confirms
   * leave. Default: they are told nothing of the kind.
   */
  readonly durableSeq?: () => number;
  /** How long a confirmed id counts as seen. */
  readonly windowMs: number;
  /** Life of a claim that is neither confirmed nor released. Default 30,000. */
  readonly claimMs?: number;
  /** Confirms leave after at most this many milliseconds when no claim takes them along. Default 100. */
  readonly confirmDelayMs?: number;
  /** Default `weir:d:`. Instances that share a window share the prefix. */
  readonly keyPrefix?: string;
  /** Ids of each kind in one call: Redis does nothing else meanwhile, about 1 µs for each. Default 1,000. */
  readonly idsPerCallMax?: number;
  /** Calls that may be under way at once. Default 32. */
  readonly callsInFlightMax?: number;
  /**
   * Ids that wait to be confirmed while Redis is away, about 170 bytes each; beyond it the oldest are dropped and counted.
   * Default 1,000,000.
   */
  readonly pendingConfirmsMax?: number;
}

export interface SharedWindowDeps {
  readonly logger: WindowLogger;
  /** True when the journal holds this id by now: another copy of the event was appended, so the claim stays. */
  readonly isAppended?: (key: string) => boolean;
  /** Default: the process's own. */
  readonly monotonicMs?: () => number;
  readonly random?: () => number;
}

/** Keys are storeId, NUL, eventId: neither part holds a control character, so no two pairs share a key. */
export interface SharedWindow {
  /** Resolves when Redis can be asked, or when it is known that it cannot for now; never rejects. */
  connect(): Promise<void>;
  /**
   * A verdict for each key, in order. Never rejects, and never waits longer than `timeoutMs`. One's own open claim is
   * claimed again, for its full life.
   */
  claim(keys: readonly string[]): Promise<readonly ClaimVerdict[]>;
  /**
   * Claims again what was claimed more than a third of a claim's life ago (`claimedAtMs`: monotonic, from before the
   * claim); undefined when it is younger. A key that comes back `busy` or `duplicate` was lost to somebody else meanwhile.
   */
  renewIfOld(keys: readonly string[], claimedAtMs: number): Promise<readonly ClaimVerdict[]> | undefined;
  /** The events of these keys are durable. The array must not be changed afterwards. */
  confirm(keys: readonly string[]): void;
  /** These will not be appended. The array must not be changed afterwards. */
  release(keys: readonly string[]): void;
  /**
   * Confirms large numbers at start: one call at a time, each followed by a pause as long, so that Redis keeps half of
   * its time; waits while Redis is away. Resolves with the number of keys; rejects with the signal's reason, or once closed.
   * `from` is where their events are, when that is not the owner's journal.
   */
  confirmAll(
    batches: AsyncIterable<readonly string[]> | Iterable<readonly string[]>,
    signal: AbortSignal,
    from?: CopyElsewhere,
  ): Promise<number>;
  health(): WindowHealth;
  /** Sends what is still to be confirmed or released, until `signal` aborts; then ends the connection. */
  close(signal: AbortSignal): Promise<void>;
}

const NONE: readonly string[] = [];
const PENDING_RELEASES_MAX = 20_000;
const CONSEQUENCE = 'events are accepted, and duplicates of other instances are only recognised by the view events';

export function createSharedWindow(options: SharedWindowOptions, deps: SharedWindowDeps): SharedWindow {
  const { windowMs, claimMs = 30_000, confirmDelayMs = 100, idsPerCallMax = 1_000, callsInFlightMax = 32 } = options;
  const now = deps.monotonicMs ?? (() => performance.now());
  if (!/^[\w-]{1,64}$/.test(options.owner) || !/^[\w-]{1,32}$/.test(options.epoch))
    throw new RangeError('owner and epoch of a dedupe window must be letters, digits and hyphens');

  const confirms = createBacklog({ idsMax: options.pendingConfirmsMax ?? 1_000_000, ageMaxMs: windowMs });
  const releases = createBacklog({ idsMax: PENDING_RELEASES_MAX, ageMaxMs: claimMs });
  const counters = createCounters();
  const outages = createOutageLog(deps.logger, now, CONSEQUENCE);
  let confirmTimer: ReturnType<typeof setTimeout> | undefined;
  let isFlushing = false;
  let changes = Promise.withResolvers<void>();
  let lastClaim: Promise<unknown> = Promise.resolve();

  const ownTag = journalTag(options.owner);
  const line = createLine(
    {
      ...options,
      clientName: 'weir-window',
      timeoutMs: options.timeoutMs ?? 50,
      head: [options.keyPrefix ?? 'weir:d:', `${options.owner}.`, options.epoch, claimMs, windowMs],
    },
    {
      delivered(load) {
        counters.confirmsSent += load.confirms.length;
        counters.releasesSent += load.releases.length;
      },
      undelivered(load) {
        // Confirms of another journal are said again by whoever said them: those that wait here are the owner's.
        if (load.mark === undefined || load.mark.journalTag === ownTag) confirms.putBack(load.confirms, now());
        releases.putBack(load.releases, now());
      },
      changed(why) {
        outages.changed(why);
        changes.resolve();
        changes = Promise.withResolvers();
        if (why === undefined && hasPending()) scheduleFlush(0);
      },
      monotonicMs: now,
      random: deps.random ?? Math.random,
    },
  );

  async function connect(): Promise<void> {
    const first = changes.promise;
    line.open();
    await first;
  }

  function claim(keys: readonly string[]): Promise<readonly ClaimVerdict[]> {
    const why = line.problem();
    if (why !== undefined) return Promise.resolve(skip(keys, why.reason));
    // What is answered at once must not overtake what waits.
    if (line.callsInFlight() >= callsInFlightMax) return lastClaim.then(() => skip(keys, 'overloaded'));
    const answer = keys.length <= idsPerCallMax ? claimPart(keys) : claimParts(keys);
    lastClaim = answer;
    return answer;
  }

  async function claimParts(keys: readonly string[]): Promise<readonly ClaimVerdict[]> {
    const parts: Promise<readonly ClaimVerdict[]>[] = [];
    for (let from = 0; from < keys.length; from += idsPerCallMax)
      parts.push(claimPart(keys.slice(from, from + idsPerCallMax)));
    return (await Promise.all(parts)).flat();
  }

  async function claimPart(keys: readonly string[]): Promise<readonly ClaimVerdict[]> {
    const answer = await line.send(nextLoad(keys));
    if ('problem' in answer) return skip(keys, answer.problem.reason);
    const verdicts = readVerdicts(answer.reply, keys.length, claimMs);
    if (verdicts === undefined) return skip(keys, 'error');
    for (const { kind } of verdicts) if (kind !== 'skipped') counters[kind] += 1;
    return verdicts;
  }

  function skip(keys: readonly string[], reason: SkipReason): readonly ClaimVerdict[] {
    counters.skipped[reason] += keys.length;
    return new Array<ClaimVerdict>(keys.length).fill(SKIPPED);
  }

  /** A release must reach Redis before a later claim of the same key, so none stays behind. */
  function nextLoad(claims: readonly string[]): Load {
    while (releases.count() > idsPerCallMax) void line.send({ confirms: NONE, releases: takeReleases(), claims: NONE });
    return { mark: ownMark(), confirms: confirms.take(idsPerCallMax, now()), releases: takeReleases(), claims };
  }

  function ownMark(): CopyElsewhere | undefined {
    return options.durableSeq === undefined ? undefined : { journalTag: ownTag, throughSeq: options.durableSeq() };
  }

  function takeReleases(): readonly string[] {
    if (releases.count() === 0) return NONE;
    const keys = releases.take(idsPerCallMax, now());
    const { isAppended } = deps;
    return isAppended === undefined ? keys : keys.filter((key) => !isAppended(key));
  }

  function confirm(keys: readonly string[]): void {
    confirms.add(keys, now());
    scheduleFlush(confirmDelayMs);
  }

  function release(keys: readonly string[]): void {
    releases.add(keys, now());
    scheduleFlush(confirmDelayMs);
  }

  function scheduleFlush(delayMs: number): void {
    if (line.problem() !== undefined || isFlushing || confirmTimer !== undefined) return;
    confirmTimer = setTimeout(flush, delayMs);
  }

  /** One call at a time, so that claims come in between. */
  async function flush(): Promise<void> {
    confirmTimer = undefined;
    if (isFlushing) return;
    isFlushing = true;
    if (line.problem() === undefined && hasPending()) await line.send(nextLoad(NONE));
    isFlushing = false;
    if (hasPending()) scheduleFlush(confirms.count() >= idsPerCallMax ? 0 : confirmDelayMs);
  }

  function hasPending(): boolean {
    return confirms.count() + releases.count() > 0;
  }

  async function confirmAll(
    batches: AsyncIterable<readonly string[]> | Iterable<readonly string[]>,
    signal: AbortSignal,
    from?: CopyElsewhere,
  ): Promise<number> {
    let total = 0;
    for await (const keys of batches) {
      for (let at = 0; at < keys.length; at += idsPerCallMax)
        await confirmNow(keys.slice(at, at + idsPerCallMax), signal, from);
      total += keys.length;
    }
    return total;
  }

  async function confirmNow(
    keys: readonly string[],
    signal: AbortSignal,
    from: CopyElsewhere | undefined,
  ): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      if (line.problem() === undefined) {
        const answer = await line.send({ mark: from ?? ownMark(), confirms: keys, releases: NONE, claims: NONE });
        if ('reply' in answer) {
          await sleep(line.latencyMs() ?? 0, signal);
          return;
        }
        // What did not arrive is queued by then, and goes out like any other confirm of the owner's.
        if (from === undefined || from.journalTag === ownTag) return;
        continue;
      }
      if (line.problem()?.reason === 'closed') throw new Retryable('closed', 'the dedupe window was closed');
      await untilChanged(signal);
    }
  }

  async function untilChanged(signal: AbortSignal): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>();
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    await Promise.race([changes.promise, promise]).finally(() => signal.removeEventListener('abort', onAbort));
  }

  async function close(signal: AbortSignal): Promise<void> {
    clearTimeout(confirmTimer);
    isFlushing = true;
    while (!signal.aborted && line.problem() === undefined && hasPending()) await line.send(nextLoad(NONE));
    line.close();
  }

  function health(): WindowHealth {
    const why = line.problem();
    const latencyMs = line.latencyMs();
    const lastError = outages.lastError();
    return {
      state: windowState(why?.reason),
      ...(why === undefined ? {} : { skipping: why.reason }),
      ...(latencyMs === undefined ? {} : { latencyMs }),
      ...(lastError === undefined ? {} : { lastError }),
      pendingConfirms: confirms.count(),
      counters: {
        ...counters,
        skipped: { ...counters.skipped },
        confirmsDropped: confirms.dropped(),
        timeouts: line.timeouts(),
        lateReplies: line.lateReplies(),
      },
    };
  }

  const renewAfterMs = claimMs / 3;
  return {
    connect,
    claim,
    renewIfOld: (keys, claimedAtMs) => (now() - claimedAtMs < renewAfterMs ? undefined : claim(keys)),
    confirm,
    release,
    confirmAll,
    health,
    close,
  };
}
