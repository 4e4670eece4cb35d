/**
 * Two accept processes share a port, and a client that was cut off comes back with its token: where it was before, it goes on;
 * the other one tells it that nothing is recovered, and knows what it sends again all the same.
 */
import { afterEach, describe, expect, test } from 'bun:test';
import { lacks } from '@libs/services';
import type { SentEvent } from './events.ts';
import { cleanUpInstances, startInstances } from './instances.ts';
import { createSeeded } from './seeded.ts';
import type { Service } from './service.ts';
import { connectSocket, type SocketClient } from './socket-client.ts';
import { until } from './until.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 120_000;
/** The kernel deals connections out by a hash: that all of them go the same way is a matter of 1 in 10^12. */
const ATTEMPTS_MAX = 40;

afterEach(cleanUpInstances);

async function helloOf(client: SocketClient) {
  const [hello] = await client.heard('hello');
  const { connectionId, resume, ...rest } = hello as typeof hello & Readonly<Record<string, unknown>>;
  return { ...rest, process: String(connectionId).split('-')[0], resume: String(resume) };
}

/** Sends it again for as long as the other process may still be writing the first copy, as far as this one knows. */
async function untilTaken(client: SocketClient, event: SentEvent) {
  const ofType = (type: string) => client.messages.filter((message) => message.type === type);
  for (let refused = 0; ; refused++) {
    client.send(event, 0);
    await until(() => ofType('event_ack').length > 0 || ofType('event_error').length > refused, 'an answer');
    const [ack] = ofType('event_ack');
    if (ack !== undefined) return ack;
    const error = ofType('event_error').at(-1);
    expect(error).toMatchObject({ code: 'claimed_elsewhere', seq: 0, retryAfterMs: expect.any(Number) });
    await Bun.sleep(Number(error?.['retryAfterMs']));
  }
}

describe.skipIf(lacks({ start: ['redis'] }))('resumed at one of two accept processes', () => {
  test(
    'recovered is true at its own and false at the other; nothing is lost or there twice',
    async () => {
      const { services, ledger, events, finish, untilRedis } = await startInstances(createSeeded(SEED), {
        count: 1,
        workers: 2,
        settings: { REDIS_TIMEOUT_MS: '10000' },
      });
      await untilRedis(({ state }) => state === 'healthy', 'Redis is healthy');
      const [{ url }] = services as [Service];
      const met = { own: 0, other: 0 };
      for (let attempt = 0; attempt < ATTEMPTS_MAX && Math.min(met.own, met.other) < 2; attempt++) {
        const before = await connectSocket(url);
        const hello = await helloOf(before);
        const event = events.good();
        ledger.sent(event);
        before.send(event, 0);
        const [ack] = await before.heard('event_ack');
        expect(ack).toMatchObject({ status: 'received', seq: 0 });
        ledger.answered(event, { kind: 'accepted', position: String(ack?.['position']) });
        before.cut();

        const after = await connectSocket(url, hello.resume);
        const again = await helloOf(after);
        const isOwn = again.process === hello.process;
        met[isOwn ? 'own' : 'other'] += 1;
        expect(again).toMatchObject(isOwn ? { recovered: true, throughSeq: 0 } : { recovered: false });
        if (!isOwn) expect(again).not.toHaveProperty('throughSeq');
        expect(await untilTaken(after, event)).toMatchObject({ status: 'duplicate', seq: 0 });
        ledger.answered(event, { kind: 'duplicate' });
        after.close();
      }
      expect(Math.min(met.own, met.other)).toBeGreaterThanOrEqual(2);
      const { broken, twice } = await finish();
      expect({ seed: SEED, broken, twice }).toEqual({ seed: SEED, broken: [], twice: [] });
    },
    TIMEOUT_MS,
  );
});
