/** The running service, as it sees itself. */
import { z } from 'zod';
import { type Service, Unreachable } from '../service.ts';
import { printable } from '../terminal.ts';
import type { Finding, FindingState } from './finding.ts';

const healthSchema = z.object({
  status: z.enum(['healthy', 'degraded', 'unhealthy']),
  version: z.string().optional(),
  services: z.record(z.string(), z.unknown()).default({}),
});

const STATES: Readonly<Record<string, FindingState>> = { healthy: 'ok', degraded: 'warning', unhealthy: 'failure' };

export async function checkService(service: Service): Promise<readonly Finding[]> {
  let text: string;
  let status: number;
  try {
    const reply = await service.request('/health', {});
    status = reply.status;
    text = await reply.text();
  } catch (error) {
    if (!(error instanceof Unreachable)) throw error;
    return [finding('service', 'info', `not running: ${error.message}`)];
  }
  const health = readHealth(text);
  if (health === undefined) {
    const remedy = 'Something else may listen there: give the address with --url.';
    return [{ ...finding('service', 'failure', `${service.url}/health: no health report (HTTP ${status})`), remedy }];
  }
  const version = health.version === undefined ? '' : `, version ${health.version}`;
  const state = STATES[health.status] ?? 'warning';
  return [
    finding('service', state, `${health.status} at ${service.url}${version}`),
    ...Object.entries(health.services).flatMap(([name, value]) => describePart(name, value)),
  ];
}

function readHealth(text: string): z.infer<typeof healthSchema> | undefined {
  try {
    const parsed = healthSchema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** One part of the service: its state and whatever else is a plain value. */
function describePart(name: string, value: unknown): Finding[] {
  if (typeof value !== 'object' || value === null || !('state' in value || 'status' in value)) return [];
  const { state, status, ...rest } = value as Record<string, unknown>;
  const word = String(state ?? status);
  const details = Object.entries(rest)
    .filter(([, detail]) => ['string', 'number', 'boolean'].includes(typeof detail))
    .map(([key, detail]) => `${key} ${typeof detail === 'number' ? Math.round(detail * 100) / 100 : detail}`);
  const known: Readonly<Record<string, FindingState>> = { ...STATES, open: 'ok', full: 'failure', failed: 'failure' };
  return [finding(printable(name), known[word] ?? 'info', printable([word, ...details].join(', ')))];
}

function finding(name: string, state: FindingState, message: string): Finding {
  return { area: 'service', name, state, message };
}
