import { expect, test } from 'bun:test';
import { wantsExposition } from './exposition.ts';
import { createMetrics, type Series } from './metrics.ts';

const OPEN_METRICS = 'application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1';

function bare() {
  return createMetrics({ processMetrics: false });
}

test('a counter and a gauge say what their fields hold when they are scraped', async () => {
  const metrics = bare();
  const counts = { received: 0 };
  metrics.counterFrom('weir_events_received_total', 'Events that arrived.', () => counts.received);
  metrics.gaugeFrom('weir_connections', 'Open connections.', () => -3);
  counts.received = 12;
  const expected = (value: number) => `# HELP weir_events_received_total Events that arrived.
# TYPE weir_events_received_total counter
weir_events_received_total ${value}

# HELP weir_connections Open connections.
# TYPE weir_connections gauge
weir_connections -3
`;
  expect(await metrics.expose(null)).toEqual({
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    body: expected(12),
  });
  counts.received = 13;
  expect((await metrics.expose('text/plain')).body).toBe(expected(13));
});

test('OpenMetrics is what a scraper gets that prefers it, and the next plain scrape is as before', async () => {
  const metrics = bare();
  metrics.counterFrom('weir_events_total', 'Events, in _total.', () => 5, { type: 'a"b\\c\nd' });
  metrics.counterFrom('weir_events_total', 'Events, in _total.', () => 6, { type: 'x' });
  metrics.gaugeFrom('weir_depth', 'Depth.', () => 1);
  const plain = await metrics.expose('text/plain');
  expect(await metrics.expose(OPEN_METRICS)).toEqual({
    contentType: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
    body: `# HELP weir_events Events, in _total.
# TYPE weir_events counter
weir_events_total{type="a\\"b\\\\c\\nd"} 5
weir_events_total{type="x"} 6
# HELP weir_depth Depth.
# TYPE weir_depth gauge
weir_depth 1
# EOF
`,
  });
  expect(await metrics.expose('text/plain')).toEqual(plain);
  expect(plain.body).toContain('# TYPE weir_events_total counter');
});

test('series come and go between two scrapes', async () => {
  const metrics = bare();
  let series: Series[] = [{ labels: { sink: 'store' }, value: 4 }];
  metrics.seriesFrom('gauge', 'weir_lag', 'Rows behind.', ['sink'], () => series);
  metrics.seriesFrom('counter', 'weir_rows_total', 'Rows.', ['sink'], () => series);
  expect((await metrics.expose(null)).body).toContain('weir_rows_total{sink="store"} 4');
  series = [{ labels: { sink: 'kafka' }, value: 1 }];
  const { body } = await metrics.expose(null);
  expect(body).not.toContain('store');
  expect(body).toContain('weir_lag{sink="kafka"} 1');
});

test('a histogram counts a value at its bound into that bucket, and a batch at once', async () => {
  const metrics = bare();
  const histogram = metrics.histogram('weir_ack_seconds', 'Time to the ack.', [0.5, 1, 5], { path: 'batch' });
  histogram.observe(0.5);
  histogram.observe(0.75, 3);
  histogram.observe(5);
  histogram.observe(99);
  expect(histogram.snapshot()).toEqual({ bounds: [0.5, 1, 5], counts: [1, 3, 1, 1], count: 6, sum: 106.75 });
  expect((await metrics.expose(null)).body).toBe(`# HELP weir_ack_seconds Time to the ack.
# TYPE weir_ack_seconds histogram
weir_ack_seconds_bucket{path="batch",le="0.5"} 1
weir_ack_seconds_bucket{path="batch",le="1.0"} 4
weir_ack_seconds_bucket{path="batch",le="5.0"} 5
weir_ack_seconds_bucket{path="batch",le="+Inf"} 6
weir_ack_seconds_sum{path="batch"} 106.75
weir_ack_seconds_count{path="batch"} 6
`);
});

test('what would be a broken exposition is refused when it is registered', () => {
  const metrics = bare();
  metrics.gaugeFrom('weir_a', 'A.', () => 1, { x: '1' });
  expect(() => metrics.counterFrom('weir_c', 'C.', () => 1)).toThrow('Exactly counters end in _total');
  expect(() => metrics.gaugeFrom('weir_b_total', 'B.', () => 1)).toThrow('Exactly counters end in _total');
  expect(() => metrics.gaugeFrom('weir_a', 'A.', () => 1, { y: '1' })).toThrow('exists already as a gauge');
  expect(() => metrics.gaugeFrom('weir-c', 'C.', () => 1)).toThrow('Invalid metric name');
  for (const bounds of [[], [1, 1], [2, 1], [1, Number.POSITIVE_INFINITY], [Number.NaN]]) {
    expect(() => metrics.histogram('weir_h', 'H.', bounds)).toThrow('finite and rise');
  }
});

test('the process says how it is, in both formats, and nothing that Bun does not measure', async () => {
  const { body } = await createMetrics().expose(OPEN_METRICS);
  const samples = new Map(
    body
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])]),
  );
  expect(samples.get('process_cpu_seconds_total')).toBeGreaterThan(0);
  expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(1_000_000);
  expect(samples.get('process_open_fds')).toBeGreaterThan(2);
  expect([...samples.keys()]).toContain('nodejs_eventloop_lag_p99_seconds');
  expect(body).not.toContain('nodejs_heap_space');
  expect(body).not.toContain('nodejs_active');
  for (const line of body.split('\n')) expect(line).toMatch(/^(# (HELP|TYPE) \S+ .+|# EOF|\S+ \S+|)$/);
});

test('only a caller that names one of the text formats gets text', () => {
  expect(wantsExposition(OPEN_METRICS)).toBe(true);
  expect(wantsExposition('text/plain')).toBe(true);
  expect(wantsExposition('Text/Plain; version=0.0.4')).toBe(true);
  for (const accept of [null, '', '*/*', 'application/json', 'text/html,text/*', 'text/plain;q=0']) {
    expect(wantsExposition(accept)).toBe(false);
  }
});
