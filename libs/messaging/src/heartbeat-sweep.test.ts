import { expect, test } from 'bun:test';
import { ConnectionState } from './connection-state.ts';
import { createHeartbeatSweep } from './heartbeat-sweep.ts';

const LIMITS = { heartbeatIntervalMs: 800, closeTimeoutMs: 1_000 };
/** An eighth of the interval. */
const PERIOD_MS = 100;

function createFixture() {
  let nowMs = 5_000;
  const connections = new Set<{ readonly data: ConnectionState }>();
  const silent: unknown[] = [];
  const overdue: number[] = [];
  const sweep = createHeartbeatSweep({
    connections,
    limits: LIMITS,
    now: () => nowMs,
    onSilent(ws) {
      connections.delete(ws);
      silent.push(ws);
    },
    onEndOverdue: (_, ending) => overdue.push(ending.code),
  });
  return {
    sweep,
    silent,
    overdue,
    connect() {
      const ws = { data: new ConnectionState() };
      ws.data.lastSeenMs = sweep.coarseNowMs();
      connections.add(ws);
      return ws;
    },
    advance(ms: number) {
      nowMs += ms;
    },
    /** Time passes as it does while the timer runs. */
    pass(ms: number) {
      for (let passed = 0; passed < ms; passed += PERIOD_MS) {
        nowMs += PERIOD_MS;
        sweep.run();
      }
    },
  };
}

test('nobody is silent before two intervals, and everybody by two and a quarter', () => {
  const { sweep, silent, connect, pass, advance } = createFixture();
  sweep.run();
  advance(PERIOD_MS - 1);
  // Heard just before the next sweep: the coarse clock is almost a period behind.
  const ws = connect();
  pass(1_600);
  expect(silent).toEqual([]);
  pass(200);
  expect(silent).toEqual([ws]);
});

test('a connection that is heard once an interval stays', () => {
  const { sweep, silent, connect, pass } = createFixture();
  const ws = connect();
  for (let beat = 0; beat < 50; beat++) {
    pass(800);
    ws.data.lastSeenMs = sweep.coarseNowMs();
  }
  expect(silent).toEqual([]);
});

test("time in which the process stood still is nobody's silence", () => {
  const { sweep, silent, connect, pass, advance } = createFixture();
  const ws = connect();
  pass(800);
  advance(60_000);
  sweep.run();
  pass(600);
  expect(silent).toEqual([]);
  pass(400);
  expect(silent).toEqual([ws]);
});

test('a close that waits too long is overdue', () => {
  const { silent, overdue, connect, pass } = createFixture();
  connect().data.ending = { code: 1013, reason: '', sinceMs: 5_000 };
  pass(900);
  expect(overdue).toEqual([]);
  pass(100);
  expect(overdue).toEqual([1013]);
  expect(silent).toEqual([]);
});
