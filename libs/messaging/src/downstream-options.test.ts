import { describe, expect, test } from 'bun:test';
import { defaultDownstreams, downstreamsSchema, unknownDownstreamTypes } from './downstream-options.ts';

const GOOD = { url: 'https://hooks.example/events?key=1', eventTypes: ['cart_updated'] };

/** `path: message` of every problem. */
function problemsOf(downstreams: unknown): string[] {
  const parsed = downstreamsSchema.safeParse(downstreams);
  return parsed.success ? [] : parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('downstreamsSchema', () => {
  test('a URL and event types are enough', () => {
    expect(downstreamsSchema.parse({ 'my-hook-2': GOOD })['my-hook-2']).toEqual({
      ...GOOD,
      headers: {},
      timeoutMs: 10_000,
      concurrency: 8,
      retries: 20,
      ageMaxMs: 86_400_000,
      order: 'none',
      replyBytesMax: 65_536,
      breaker: { failures: 5, openMs: 5_000, openMsMax: 60_000, halfOpenCalls: 1 },
      from: 'now',
      required: true,
    });
  });

  test.each([
    [{ url: 'ftp://hooks.example/' }, 'url: must be an http or https URL'],
    [{ url: 'hooks.example' }, 'url: must be an http or https URL'],
    [{ url: 'https://user:pass@hooks.example/' }, 'url: must not hold a user or a password'],
    [{ eventTypes: [] }, 'eventTypes: Too small'],
    [{ eventTypes: ['Cart'] }, 'eventTypes.0: is no name of an event type'],
    [{ eventTypes: ['a', 'a'] }, 'eventTypes: names a type twice'],
    [{ timeoutMs: 0 }, 'timeoutMs: Too small'],
    [{ timeoutMs: 1.5 }, 'timeoutMs: Invalid input'],
    [{ concurrency: 129 }, 'concurrency: Too big'],
    [{ order: 'store' }, 'order: Invalid option'],
    [{ breaker: { openMs: 5_000, openMsMax: 1_000 } }, 'breaker.openMsMax: must not be less than openMs'],
    [{ breaker: { half: 1 } }, 'breaker: Unrecognized key: "half"'],
    [{ retry: 3 }, ': Unrecognized key: "retry"'],
    [{ required: false }, 'backlogEventsMax: must be given with required: false'],
    [{ backlogEventsMax: 5_000 }, 'backlogEventsMax: has a meaning only with required: false'],
    [{ headers: { Host: 'x' } }, 'headers.Host: is set by Weir or belongs to the connection'],
    [{ headers: { 'Idempotency-Key': 'x' } }, 'headers.Idempotency-Key: is set by Weir'],
    [{ headers: { 'X-A': '1', 'x-a': '2' } }, 'headers.x-a: is given twice'],
    [{ headers: { 'X A': '1' } }, 'headers.X A: is no name of a header'],
    [{ headers: { 'X-A': '1\r\nHost: evil' } }, 'headers.X-A: must be visible ASCII'],
    [{ headers: { 'X-A': 'größer' } }, 'headers.X-A: must be visible ASCII'],
  ])('%j is refused: %s', (settings, problem) => {
    expect(problemsOf({ hook: { ...GOOD, ...settings } })).toEqual([expect.stringContaining(problem)]);
    expect(problemsOf({ hook: { ...GOOD, ...settings } })[0]).toMatch(/^hook[.:]/);
  });

  test('the value of a header is in no problem', () => {
    expect(problemsOf({ hook: { ...GOOD, headers: { Authorization: 'Bearer s3cret\n' } } }).join()).not.toContain(
      's3cret',
    );
  });

  test.each(['', 'Hook', '1hook', 'a_b', 'a'.repeat(33)])('%j is no name', (name) => {
    expect(problemsOf({ [name]: GOOD })).toEqual([expect.stringContaining('a name is 1 to 32 of a-z, 0-9 and -')]);
  });

  test('all together they leave requests to others', () => {
    const many = Object.fromEntries(Array.from({ length: 4 }, (_, at) => [`hook-${at}`, { ...GOOD, concurrency: 49 }]));
    expect(problemsOf(many)).toEqual([': their concurrency is 196 in all; at most 192 is allowed']);
    const crowd = Object.fromEntries(
      Array.from({ length: 33 }, (_, at) => [`hook-${at}`, { ...GOOD, concurrency: 1 }]),
    );
    expect(problemsOf(crowd)).toEqual([': at most 32 downstreams']);
  });
});

describe('defaultDownstreams', () => {
  test('none without a URL', () => {
    expect(defaultDownstreams({})).toEqual({});
    expect(defaultDownstreams({ prediction: undefined })).toEqual({});
  });

  test('each with the events of its service', () => {
    const parsed = downstreamsSchema.parse(
      defaultDownstreams({
        prediction: 'http://prediction:8000',
        analytics: 'http://analytics/in',
        completion: 'http://completion/',
      }),
    );
    expect(Object.entries(parsed).map(([name, { url, eventTypes }]) => [name, url, ...eventTypes])).toEqual([
      ['prediction', 'http://prediction:8000/api/predict/analyze', 'cart_abandoned'],
      ['analytics', 'http://analytics/in', 'cart_updated'],
      ['completion', 'http://completion/', 'purchase_completed'],
    ]);
  });

  test('a URL of prediction that names a path is taken as it is, and one that is no URL is refused by the schema', () => {
    expect(defaultDownstreams({ prediction: 'http://p/v2/analyze?x=1' })['prediction']?.url).toBe(
      'http://p/v2/analyze?x=1',
    );
    expect(problemsOf(defaultDownstreams({ prediction: 'p:8000/x y' }))).toEqual([
      'prediction.url: must be an http or https URL',
    ]);
  });
});

test('types that nobody sends are named', () => {
  const downstreams = downstreamsSchema.parse({ hook: { ...GOOD, eventTypes: ['cart_updated', 'cart_updatet'] } });
  expect(unknownDownstreamTypes(downstreams, new Set(['cart_updated']))).toEqual([
    'downstreams.hook.eventTypes: cart_updatet is neither built in nor registered in eventTypes.',
  ]);
});
