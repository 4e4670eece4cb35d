/** How a service says that it is well. */

export type HealthStatus = 'healthy' | 'degraded' | 'unhealthy';

/** One thing the service depends on. */
export interface ServiceHealth {
  readonly status: HealthStatus;
  /** Milliseconds that its last successful call took. */
  readonly latencyMs?: number;
  readonly lastError?: string;
}

export interface ServiceReport extends ServiceHealth {
  /** True when events cannot be acknowledged without it (the journal). What comes after the journal is never required. */
  readonly required: boolean;
}

/**
 * The whole: `unhealthy` when something required is, `degraded` when anything at all is not healthy, else `healthy`.
 */
export function overallStatus(services: Iterable<ServiceReport>): HealthStatus {
  let overall: HealthStatus = 'healthy';
  for (const { status, required } of services) {
    if (status === 'unhealthy' && required) return 'unhealthy';
    if (status !== 'healthy') overall = 'degraded';
  }
  return overall;
}

/** Several of a kind as one (downstream as the aggregate of each one): the worst of them when all are bad, else at most degraded. */
export function aggregateStatus(statuses: readonly HealthStatus[]): HealthStatus {
  if (statuses.every((status) => status === 'healthy')) return 'healthy';
  return statuses.every((status) => status === 'unhealthy') ? 'unhealthy' : 'degraded';
}
