import { expect, test } from 'bun:test';
import { aggregateStatus, type HealthStatus, overallStatus } from './health.ts';

const STATUSES: readonly HealthStatus[] = ['healthy', 'degraded', 'unhealthy'];

test('the whole is unhealthy when something required is, degraded when anything is not well, else healthy', () => {
  const expected = {
    healthy: { healthy: 'healthy', degraded: 'degraded', unhealthy: 'degraded' },
    degraded: { healthy: 'degraded', degraded: 'degraded', unhealthy: 'degraded' },
    unhealthy: { healthy: 'unhealthy', degraded: 'unhealthy', unhealthy: 'unhealthy' },
  } as const;
  for (const journal of STATUSES) {
    for (const clickhouse of STATUSES) {
      const services = [
        { status: journal, required: true },
        { status: clickhouse, required: false },
      ];
      expect(overallStatus(services)).toBe(expected[journal][clickhouse]);
      expect(overallStatus(services.toReversed())).toBe(expected[journal][clickhouse]);
    }
  }
  expect(overallStatus([])).toBe('healthy');
});

test('several of a kind are as bad as all of them are', () => {
  expect(aggregateStatus([])).toBe('healthy');
  expect(aggregateStatus(['healthy', 'healthy'])).toBe('healthy');
  expect(aggregateStatus(['healthy', 'unhealthy'])).toBe('degraded');
  expect(aggregateStatus(['degraded', 'unhealthy'])).toBe('degraded');
  expect(aggregateStatus(['unhealthy', 'unhealthy'])).toBe('unhealthy');
});
