/** Runs one load against one server, in this process. */
import { type ClosedLoop, createClosedLoop } from './closed-loop.ts';
import { createIdStamp, type IdStamp, newNonce } from './events.ts';
import type { LoadJob, LoadResult } from './job.ts';
import { type Lane, type LaneHandlers, openHttpLane, openWsLane } from './lanes.ts';
import { type Expected, expectedOfBatch, type Mix, PLAIN_MIX } from './mix.ts';
import { createOpenLoop, type OpenLoop } from './open-loop.ts';
import { type CpuReading, cpuBetween, readCpu } from './processes.ts';
import { createRequestRing, type RequestRing } from './request-ring.ts';
import { createSamples } from './samples.ts';

/**
 * Enough different events that their strings have left the parser's cache, and in batches its table of short strings too (which
 * garbage collection empties), before they come again. More single ones would cost the generator time of its own.
 */
const EVENTS_ALL: Record<LoadJob['kind'], number> = { single: 8_192, ws: 8_192, batch: 200_000, ndjson: 200_000 };
/** Of large events, fewer are different. */
const EVENT_BYTES_ALL_MAX = 64 * 1024 * 1024;
const SLOTS_PER_LANE_MIN = 4;
const PROBLEM_KINDS_MAX = 20;
/** A request that is due sooner than this is waited for without a timer, whose steps are whole milliseconds. */
const SHORT_WAIT_MS = 2;
/** A nap between two looks at the clock and the sockets. The kernel makes it about 70 µs. */
const NAP_MS = 0.02;

interface Loop {
  readonly onReplies: (lane: number, replies: number) => void;
  /** Resolves when the load has been sent for as long as it should. */
  run(): Promise<void>;
  unanswered(): number;
}

/** `began`: the measured seconds begin. */
export async function runLoad(job: LoadJob, began: () => void): Promise<LoadResult> {
  const stamp = createIdStamp();
  const problems = createProblems();
  const rings = makeRings(job, stamp);
  const lanes: Lane[] = [];
  let loop: Loop | undefined;
  let primed = 0;
  for (const [index, ring] of rings.entries()) {
    const replied = (replies: number) => {
      if (loop === undefined) primed += replies;
      else loop.onReplies(index, replies);
    };
    lanes.push(await openLane(job, ring, { replied, problem: problems.add }));
  }
  try {
    if (mixOf(job).duplicates > 0) await prime(job, lanes, rings, () => primed);
    const meter = createMeter(job, began);
    loop =
      'inFlight' in job.pace
        ? closedLoop(job, lanes, job.pace.inFlight, meter)
        : openLoop(job, lanes, job.pace.requestsPerSecond, meter);
    await loop.run();
    await until(() => loop?.unanswered() === 0, job.answerTimeoutSeconds * 1000);
    return {
      ...meter.result(),
      eventsSent: job.eventsPerRequest * rings.reduce((sum, ring) => sum + ring.stamped(), 0),
      eventBytes: eventBytesOf(rings, job),
      unanswered: loop.unanswered(),
      problems: problems.counts(),
    };
  } finally {
    for (const lane of lanes) lane.close();
  }
}

function openLane(job: LoadJob, ring: RequestRing, handlers: LaneHandlers): Promise<Lane> {
  if (job.kind === 'ws') return openWsLane(job, ring, handlers, job.eventsPerRequest, job.acks);
  const isExact = job.answers === 'exact' && job.kind !== 'single';
  const [first, later] = [true, false].map((isFirst) =>
    isExact ? expectedOfBatch(mixOf(job), job.eventsPerRequest, isFirst) : { status: job.form === 'flume' ? 200 : 202 },
  ) as [Expected, Expected];
  return openHttpLane(job, ring, handlers, (reply) => (reply < ring.slots ? first : later));
}

/** Has every slot acknowledged once, so that from then on its duplicates are duplicates. */
async function prime(
  job: LoadJob,
  lanes: readonly Lane[],
  rings: readonly RequestRing[],
  answered: () => number,
): Promise<void> {
  const slots = Math.max(...rings.map((ring) => ring.slots));
  for (let slot = 0; slot < slots; slot++) {
    for (const lane of lanes) lane.send(1);
    await until(() => answered() >= (slot + 1) * lanes.length, job.answerTimeoutSeconds * 1000);
  }
  if (answered() < slots * lanes.length) throw new Error('the ids that are to be sent again were not acknowledged');
}

const mixOf = (job: LoadJob): Mix => job.mix ?? PLAIN_MIX;

function makeRings(job: LoadJob, stamp: IdStamp): RequestRing[] {
  const inFlight = 'inFlight' in job.pace ? job.pace.inFlight : 1;
  const mix = mixOf(job);
  const events = Math.min(EVENTS_ALL[job.kind], EVENT_BYTES_ALL_MAX / mix.eventBytes);
  const slotsAll = events / job.eventsPerRequest;
  const slots = Math.max(SLOTS_PER_LANE_MIN, 2 * inFlight, Math.ceil(slotsAll / job.connections));
  const nonce = newNonce();
  return Array.from({ length: job.connections }, (_, lane) =>
    createRequestRing(
      {
        kind: job.kind,
        form: job.form ?? 'weir',
        ...(job.acks === undefined ? {} : { acks: job.acks }),
        slots,
        eventsPerRequest: job.eventsPerRequest,
        host: `${job.host}:${job.port}`,
        seed: job.seed + lane,
        nowMs: Date.now(),
        nonce,
        titles: job.titles,
        mix,
      },
      stamp,
    ),
  );
}

function eventBytesOf(rings: readonly RequestRing[], job: LoadJob): number {
  const events = rings.reduce((sum, ring) => sum + ring.eventBytes, 0);
  return events / rings.reduce((sum, ring) => sum + ring.slots * job.eventsPerRequest, 0);
}

interface Meter {
  /** The measured part begins and ends. */
  begin(): void;
  end(): void;
  /** A reply came; while the meter is on, its events count. */
  answered(): void;
  sample(latencyMs: number, lagMs?: number): void;
  isOn(): boolean;
  result(): Pick<LoadResult, 'events' | 'eventsPerSecond' | 'latency' | 'cpu' | 'sendLag'>;
}

function createMeter(job: LoadJob, began: () => void): Meter {
  const watch = [...job.watch, { name: 'generator', pid: process.pid }];
  const latencies = createSamples();
  const lags = createSamples();
  const isOpen = !('inFlight' in job.pace);
  let replies = 0;
  let before: CpuReading | undefined;
  let after: CpuReading | undefined;
  const isOn = () => before !== undefined && after === undefined;

  return {
    begin() {
      began();
      before = readCpu(watch);
    },
    end() {
      after = readCpu(watch);
    },
    isOn,
    answered() {
      if (isOn()) replies += 1;
    },
    sample(latencyMs, lagMs) {
      latencies.add(latencyMs);
      if (lagMs !== undefined) lags.add(lagMs);
    },
    result() {
      if (before === undefined || after === undefined) throw new Error('the load ended before it was measured');
      const cpu = cpuBetween(before, after);
      const latency = latencies.percentiles();
      const events = replies * job.eventsPerRequest;
      return {
        events,
        eventsPerSecond: events / cpu.seconds,
        latency,
        cpu,
        ...(isOpen ? { sendLag: lags.percentiles() } : {}),
      };
    },
  };
}

function closedLoop(job: LoadJob, lanes: readonly Lane[], inFlight: number, meter: Meter): Loop {
  const loop: ClosedLoop = createClosedLoop({
    lanes,
    inFlight,
    now: () => performance.now(),
    replied(_nowMs, latencyMs) {
      meter.answered();
      if (meter.isOn()) meter.sample(latencyMs);
    },
  });
  return {
    onReplies: loop.onReplies,
    async run() {
      loop.start();
      await Bun.sleep(job.warmupSeconds * 1000);
      meter.begin();
      await Bun.sleep(job.seconds * 1000);
      meter.end();
      loop.stop();
    },
    unanswered: loop.unanswered,
  };
}

function openLoop(job: LoadJob, lanes: readonly Lane[], requestsPerSecond: number, meter: Meter): Loop {
  const startMs = performance.now();
  const beginMs = startMs + job.warmupSeconds * 1000;
  const endMs = beginMs + job.seconds * 1000;
  const loop: OpenLoop = createOpenLoop({
    lanes,
    requestsPerSecond,
    requests: Math.round((job.warmupSeconds + job.seconds) * requestsPerSecond),
    startMs,
    now: () => performance.now(),
    replied(dueMs, latencyMs, lagMs) {
      meter.answered();
      if (dueMs >= beginMs) meter.sample(latencyMs, lagMs);
    },
  });
  return {
    onReplies: loop.onReplies,
    async run() {
      await pumpUntil(loop, beginMs);
      meter.begin();
      await pumpUntil(loop, endMs);
      meter.end();
      // What is still owed is sent late rather than never: the latencies say so.
      await pumpUntil(loop, endMs + job.answerTimeoutSeconds * 1000);
    },
    unanswered: loop.unanswered,
  };
}

/** Keeps the load going until the moment, or until everything is answered. */
async function pumpUntil(loop: OpenLoop, momentMs: number): Promise<void> {
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  while (!loop.isDone()) {
    const dueMs = loop.pump();
    const nowMs = performance.now();
    if (nowMs >= momentMs) return;
    const waitMs = Math.min(dueMs ?? momentMs, momentMs) - nowMs;
    if (dueMs === undefined) await nextRead();
    else if (waitMs > SHORT_WAIT_MS) await Bun.sleep(1);
    else {
      if (waitMs > NAP_MS) Atomics.wait(sleeper, 0, 0, NAP_MS);
      await nextTurn();
    }
  }
}

/** One turn of the event loop, in which the sockets are read. */
function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Nothing can be sent before a reply comes: no need to look at the clock meanwhile. */
function nextRead(): Promise<void> {
  return Bun.sleep(1);
}

async function until(condition: () => boolean, timeoutMs: number): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (!condition() && performance.now() < endMs) await Bun.sleep(5);
}

function createProblems() {
  const counts = new Map<string, number>();
  return {
    add(problem: string): void {
      const name = counts.has(problem) || counts.size < PROBLEM_KINDS_MAX ? problem : 'others';
      counts.set(name, (counts.get(name) ?? 0) + 1);
    },
    counts: () => Object.fromEntries(counts),
  };
}
