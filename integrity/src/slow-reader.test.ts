/** A WebSocket client that sends and does not read: it is cut off, and nobody else notices. */
import { afterEach, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import type { EventMaker, SentEvent } from './events.ts';
import { startRawSocket } from './raw-socket.ts';
import { startScenario } from './scenario.ts';
import { createSeeded } from './seeded.ts';
import { cleanUp } from './service.ts';
import { until } from './until.ts';
import { startWriters } from './writers.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000;
const MIB = 1 << 20;
/** One reader may hold 8 MiB of unread answers, and its frames and their rows pass through memory. */
const GROWTH_MAX_BYTES = 192 * MIB;
const STALLED = 4;
/** So many copies of one event a frame. With the longest event they stay under the 1 MiB that a frame may take. */
const COPIES = 500;
const EVENT_MAX_BYTES = 1_500;

afterEach(cleanUp);

test(
  'readers that stall are closed with 1013 or cut off, everybody else is served, and memory stays bounded',
  async () => {
    const { service, ledger, client, events, audit } = await startScenario(createSeeded(SEED));
    const event = shortEvent(events);
    await client.single(event);
    const writers = startWriters(service.url, ledger, createSeeded(SEED));
    await until(() => writers.acks() > 500, 'the others are at work');
    const accept = await service.pid('accept');
    const before = residentBytes(accept);
    // Copies of one event: answers to read, nothing to store.
    const frame = JSON.stringify({ type: 'cart_event', payload: new Array(COPIES).fill(JSON.parse(event.text)) });
    const stalled = await Promise.all(Array.from({ length: STALLED }, () => startRawSocket(service.port)));
    const others = (await activeConnections(service.url)) - STALLED;
    // One stops sending in time to read what the service has to say; the others go on until they cannot.
    for (const [n, socket] of stalled.entries()) socket.flood(frame, n === 0 ? 400 : Number.MAX_SAFE_INTEGER);
    let highest = 0;
    await until(async () => {
      highest = Math.max(highest, residentBytes(accept));
      return (await activeConnections(service.url)) <= others;
    }, 'those who do not read are cut off');
    const acks = writers.acks();
    await until(() => writers.acks() > acks + 500, 'the others are still at work');
    expect(highest - before).toBeLessThan(GROWTH_MAX_BYTES);
    expect(await service.pid('accept')).toBe(accept);
    expect(writers.closeCodes()).toEqual([]);
    for (const socket of stalled) {
      const { code, isWarned } = await socket.readRest();
      expect(['reset', 1013]).toContain(code);
      if (code === 1013) expect(isWarned).toBe(true);
    }
    await writers.finish();
    expect(await audit()).toEqual([]);
  },
  TIMEOUT_MS,
);

/** Now and then an event has a note of kilobytes. */
function shortEvent(events: EventMaker): SentEvent {
  for (;;) {
    const event = events.good();
    if (Buffer.byteLength(event.text) <= EVENT_MAX_BYTES) return event;
  }
}

async function activeConnections(url: string): Promise<number> {
  const metrics = (await (await fetch(`${url}/metrics`)).json()) as { websocket: { activeConnections: number } };
  return metrics.websocket.activeConnections;
}

/** Physical memory of a process, in bytes (Linux; elsewhere `ps` tells). */
function residentBytes(pid: number): number {
  if (process.platform !== 'linux')
    return Number(Bun.spawnSync(['ps', '-o', 'rss=', '-p', String(pid)]).stdout.toString()) * 1_024;
  const kib = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kib) * 1_024;
}
