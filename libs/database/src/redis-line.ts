/**
 * Whether Redis can be asked just now, and the calls that are on their way to it. Nobody waits longer than the time
 * limit for an answer, and nobody waits at all once it is known that none will come.
 *
 *   up ──(time limit passed, connection lost, refused)──▶ out ──(nothing under way, and a probe answered in time)──▶ up
 *
 * A call whose caller was told to go on without it is still followed to its end: what it carried has arrived or not.
 */
import { backoffMs, type CopyElsewhere } from '@libs/pipeline';
import { createRedisConnection, type RedisConnection, type RedisConnectionOptions } from './redis-connection.ts';
import { isNoScript, type Problem, problem, problemOf } from './redis-problem.ts';
import { CLAIM_SCRIPT, CLAIM_SCRIPT_SHA } from './redis-script.ts';

/** What a call's confirms say of where their events are: in the journal of this tag, not beyond this sequence number. */
export type Mark = CopyElsewhere;

/** What one call carries; every list is in the script's order: confirm, release, claim. */
export interface Load {
  /** Absent: nobody is told where. */
  readonly mark?: Mark | undefined;
  readonly confirms: readonly string[];
  readonly releases: readonly string[];
  readonly claims: readonly string[];
}

export type Answer = { readonly reply: unknown } | { readonly problem: Problem };

export interface LineOptions extends RedisConnectionOptions {
  readonly timeoutMs: number;
  /** The script's first arguments: prefix, owner, epoch, claim and window in milliseconds. */
  readonly head: readonly (string | number)[];
}

export interface LineHooks {
  /** What the load carried has arrived, however late. */
  delivered(load: Load): void;
  /** It may or may not have arrived: confirm and release again. */
  undelivered(load: Load): void;
  /** Called on every way out and back: `undefined` means up. */
  changed(why: Problem | undefined): void;
  readonly monotonicMs: () => number;
  readonly random: () => number;
}

export interface Line {
  open(): void;
  /** Only while up. Answers in the order of the calls; never rejects. */
  send(load: Load): Promise<Answer>;
  /** Why it is out; undefined when it is up. */
  problem(): Problem | undefined;
  callsInFlight(): number;
  /** Milliseconds that the last answered call took. */
  latencyMs(): number | undefined;
  timeouts(): number;
  lateReplies(): number;
  close(): void;
}

interface Call {
  readonly load: Load;
  readonly sentMs: number;
  readonly answer: (answer: Answer) => void;
  isAnswered: boolean;
  /** Turns of the watchdog that it has lived through. */
  turns: number;
}

/**
 * The time limit passes in four parts, of which a call lives through three at least: when our own event loop stood still,
 * the whole limit may be over before the call has even left.
 */
const TURNS = 4;
const TURNS_MIN = 3;

const PROBE_WAIT = { minMs: 100, maxMs: 2_000 };
/** No event's key: those hold a NUL. A probe must write, since a full server or a replica still reads. */
const PROBE: Load = { confirms: ['probe'], releases: [], claims: [] };
/** No journal's: of what is confirmed with it nobody knows where it is. */
const NO_TAG = '0';

export function createLine(options: LineOptions, hooks: LineHooks): Line {
  const { timeoutMs } = options;
  const now = hooks.monotonicMs;
  /** While up, all of them are awaited; while out, at most a probe is. */
  const inFlight: Call[] = [];
  let out: Problem | undefined = problem('connecting', 'not connected yet');
  let isConnected = false;
  let isClosed = false;
  let failures = 0;
  let latencyMs: number | undefined;
  let timeouts = 0;
  let lateReplies = 0;
  let watchdog: ReturnType<typeof setTimeout> | undefined;
  let probeTimer: ReturnType<typeof setTimeout> | undefined;

  const connection = createRedisConnection(options, {
    onReady() {
      isConnected = true;
      probe();
    },
    onLost(why) {
      isConnected = false;
      goOut(why);
    },
    random: hooks.random,
  });

  function send(load: Load): Promise<Answer> {
    return new Promise((resolve) => {
      const call: Call = { load, sentMs: now(), answer: resolve, isAnswered: false, turns: 0 };
      inFlight.push(call);
      armWatchdog();
      transmit(connection, options.head, load).then(
        (reply) => settle(call, { reply }),
        (error) => settle(call, { problem: problemOf(error) }),
      );
    });
  }

  function settle(call: Call, answer: Answer): void {
    inFlight.splice(inFlight.indexOf(call), 1);
    // A claimed key that holds something foreign ends the script when everything before the claims is done.
    const hasArrived = 'reply' in answer || answer.problem.reason === 'wrong_value';
    if (call.load !== PROBE) hooks[hasArrived ? 'delivered' : 'undelivered'](call.load);
    if (call.isAnswered) {
      if ('reply' in answer) lateReplies += 1;
      if (inFlight.length === 0) probeLater();
      return;
    }
    call.isAnswered = true;
    if ('reply' in answer) latencyMs = now() - call.sentMs;
    call.answer(answer);
    // One key that holds something foreign says nothing of the next.
    if ('problem' in answer && answer.problem.reason !== 'wrong_value') goOut(answer.problem);
  }

  function goOut(why: Problem): void {
    if (isClosed) return;
    out = why;
    for (const call of inFlight) {
      if (call.isAnswered) continue;
      call.isAnswered = true;
      call.answer({ problem: why });
    }
    hooks.changed(why);
    // Behind a name, a failover shows as a primary that no longer takes writes.
    if (why.reason === 'readonly') connection.reconnect(why);
    else probeLater();
  }

  function armWatchdog(): void {
    const oldest = inFlight[0];
    if (watchdog !== undefined || oldest === undefined || oldest.isAnswered || isClosed) return;
    const leftMs = oldest.sentMs + timeoutMs - now();
    watchdog = setTimeout(onWatchdog, leftMs > 0 ? Math.min(leftMs, timeoutMs / TURNS) : timeoutMs / TURNS);
  }

  function onWatchdog(): void {
    for (const call of inFlight) call.turns += 1;
    // Sockets are read between two turns of the loop, and the first may be the one that this timer belongs to.
    setImmediate(() => setImmediate(judge));
  }

  function judge(): void {
    watchdog = undefined;
    const oldest = inFlight[0];
    if (oldest === undefined || oldest.isAnswered || isClosed) return;
    if (now() - oldest.sentMs < timeoutMs || oldest.turns < TURNS_MIN) {
      armWatchdog();
      return;
    }
    timeouts += 1;
    goOut(problem('timeout', `no answer within ${timeoutMs} ms`));
  }

  function probeLater(): void {
    if (isClosed || out === undefined) return;
    failures += 1;
    probeTimer ??= setTimeout(probe, backoffMs(failures, PROBE_WAIT, hooks.random));
  }

  /** Waits for its turn while calls are under way: only a server that has answered them all is asked again. */
  function probe(): void {
    clearTimeout(probeTimer);
    probeTimer = undefined;
    if (isClosed || !isConnected || out === undefined || inFlight.length > 0) return;
    send(PROBE).then((answer) => {
      if ('reply' in answer && !isClosed) comeBack();
    });
  }

  function comeBack(): void {
    out = undefined;
    failures = 0;
    connection.markGood();
    hooks.changed(undefined);
  }

  function close(): void {
    if (isClosed) return;
    goOut(problem('closed', 'closed'));
    isClosed = true;
    clearTimeout(watchdog);
    clearTimeout(probeTimer);
    connection.close();
  }

  return {
    open: connection.open,
    send,
    problem: () => out,
    callsInFlight: () => inFlight.length,
    latencyMs: () => latencyMs,
    timeouts: () => timeouts,
    lateReplies: () => lateReplies,
    close,
  };
}

async function transmit(connection: RedisConnection, head: readonly (string | number)[], load: Load): Promise<unknown> {
  const count = load.confirms.length + load.releases.length + load.claims.length;
  const mark = load.confirms.length === 0 ? undefined : load.mark;
  const place = [mark?.journalTag ?? NO_TAG, mark?.throughSeq ?? ''];
  const lists = [load.confirms.join('\n'), load.releases.join('\n'), load.claims.join('\n')];
  try {
    return await connection.send('evalsha', CLAIM_SCRIPT_SHA, 0, ...head, count, ...place, ...lists);
  } catch (error) {
    // A server that came back empty does not know the script: EVAL brings it along and makes it stay.
    if (!isNoScript(error)) throw error;
    return connection.send('eval', CLAIM_SCRIPT, 0, ...head, count, ...place, ...lists);
  }
}
