/** The two texts that a scraper may ask for. */
import type { Registry } from 'prom-client';

export interface Exposition {
  readonly contentType: string;
  readonly body: string;
}

const PROMETHEUS = 'text/plain; version=0.0.4; charset=utf-8';
const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** OpenMetrics 1.0 when `accept` prefers it, else the Prometheus text format 0.0.4. */
export async function exposition(registry: Registry, accept: string | null): Promise<Exposition> {
  const text = await registry.metrics();
  if (!prefersOpenMetrics(accept)) return { contentType: PROMETHEUS, body: text };
  return { contentType: OPEN_METRICS, body: toOpenMetrics(text) };
}

/** True when the header names any format of this module, so that the caller answers with text instead of JSON. */
export function wantsExposition(accept: string | null): boolean {
  return quality(accept, 'text/plain') > 0 || quality(accept, 'application/openmetrics-text') > 0;
}

function prefersOpenMetrics(accept: string | null): boolean {
  const open = quality(accept, 'application/openmetrics-text');
  return open > 0 && open >= quality(accept, 'text/plain');
}

/** The weight that an Accept header gives to a media type it names (RFC 9110, 12.5.1); wildcards do not name any. */
function quality(accept: string | null, mediaType: string): number {
  for (const range of (accept ?? '').split(',')) {
    const [type, ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    if (type !== mediaType) continue;
    const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? '1';
    const value = Number(weight);
    return Number.isFinite(value) ? value : 0;
  }
  return 0;
}

/**
 * The formats differ in three ways here: a counter's family is named without `_total`, there are no blank lines, and the end
 * is marked. (prom-client's own OpenMetrics mode renames the counters for good, so the next plain scrape would lose `_total`.)
 */
function toOpenMetrics(text: string): string {
  const lines = text.split('\n').filter((line) => line !== '');
  const converted = lines.map((line) => line.replace(/^# (HELP|TYPE) (\S+)_total /, '# $1 $2 '));
  return `${[...converted, '# EOF'].join('\n')}\n`;
}
