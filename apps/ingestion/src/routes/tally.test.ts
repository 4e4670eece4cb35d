import { describe, expect, test } from 'bun:test';
import type { Outcome } from '@libs/pipeline';
import { createTally } from './tally.ts';

const ACCEPTED: Outcome = { kind: 'accepted', level: 'stored', journal: 'j', seq: 1 };
const DUPLICATE: Outcome = { kind: 'duplicate', level: 'journal' };
const REJECTED: Outcome = { kind: 'rejected', code: 'too_long', field: 'eventId', message: 'eventId is too long' };
const RETRY: Outcome = { kind: 'retry', code: 'journal_full', message: 'The journal is full', afterMs: 1500 };

async function replyTo(outcomes: readonly Outcome[], options: { atomic?: boolean; resultsMax?: number } = {}) {
  const tally = createTally(options.resultsMax);
  for (const [index, outcome] of outcomes.entries()) tally.add(`e${index}`, outcome);
  const response = tally.reply({ requestId: 'r1', atomic: options.atomic ?? false });
  return { response, body: (await response.json()) as Record<string, unknown> };
}

describe('the status of a batch', () => {
  test.each([
    [[ACCEPTED], false, 202],
    [[ACCEPTED, DUPLICATE], false, 202],
    [[DUPLICATE, DUPLICATE], false, 200],
    [[ACCEPTED, REJECTED], false, 207],
    [[ACCEPTED, RETRY], false, 207],
    [[DUPLICATE, REJECTED], false, 207],
    [[REJECTED, RETRY], false, 207],
    [[REJECTED, REJECTED], false, 422],
    [[RETRY, RETRY], false, 503],
    [[ACCEPTED, DUPLICATE], true, 202],
    [[DUPLICATE], true, 200],
    [[REJECTED, RETRY], true, 422],
    [[RETRY, RETRY], true, 503],
  ] as const)('%j, atomic %p: %i', async (outcomes, atomic, status) => {
    const { response } = await replyTo(outcomes, { atomic });
    expect(response.status).toBe(status);
  });
});

describe('the body of a batch', () => {
  test('lists what was not plainly accepted, in the order of the input', async () => {
    const { response, body } = await replyTo([ACCEPTED, DUPLICATE, REJECTED, RETRY]);
    expect(body).toEqual({
      batchId: expect.stringMatching(/^[0-9a-f]{8}-[0-9a-f]{4}-7/),
      totalEvents: 4,
      successful: 2,
      failed: 2,
      duplicates: 1,
      durability: 'journal',
      errors: ['Event 2, eventId: eventId is too long (too_long)', 'Event 3: The journal is full (journal_full)'],
      results: [
        { index: 1, eventId: 'e1', status: 'duplicate' },
        {
          index: 2,
          eventId: 'e2',
          status: 'rejected',
          code: 'too_long',
          field: 'eventId',
          message: 'eventId is too long',
        },
        {
          index: 3,
          eventId: 'e3',
          status: 'retry',
          code: 'journal_full',
          message: 'The journal is full',
          retryAfterMs: 1500,
        },
      ],
      processedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
    });
    expect(response.headers.get('retry-after')).toBe('2');
  });

  test('names the weakest level that was reached, and none when nothing was', async () => {
    expect((await replyTo([ACCEPTED])).body['durability']).toBe('stored');
    expect((await replyTo([ACCEPTED, { ...ACCEPTED, level: 'journal' }])).body['durability']).toBe('journal');
    expect((await replyTo([REJECTED])).body).not.toHaveProperty('durability');
  });

  test('a refusal of the whole also reads like every other error', async () => {
    expect((await replyTo([REJECTED])).body).toMatchObject({ error: 'batch_rejected', requestId: 'r1' });
    expect((await replyTo([RETRY])).body).toMatchObject({ error: 'journal_full', message: 'The journal is full' });
    expect((await replyTo([ACCEPTED])).body).not.toHaveProperty('error');
  });

  test('a long list is cut and says so; the counts stay exact', async () => {
    const { body } = await replyTo(Array(1500).fill(REJECTED), { resultsMax: 5 });
    expect(body['results']).toHaveLength(5);
    expect(body).toMatchObject({ totalEvents: 1500, failed: 1500, resultsTruncated: true });
    expect(body['errors']).toHaveLength(1000);
    expect((await replyTo([REJECTED], { resultsMax: 1 })).body).not.toHaveProperty('resultsTruncated');
  });

  test('what quotes the caller is kept short', async () => {
    const long: Outcome = { ...REJECTED, field: `data.${'k'.repeat(60_000)}`, message: `${'m'.repeat(499)}😀😀` };
    const { response, body } = await replyTo(Array(100).fill(long));
    expect(JSON.stringify(body).length).toBeLessThan(300_000);
    expect(response.status).toBe(422);
    expect(JSON.stringify(body)).not.toContain('\\ud83d');
  });
});
