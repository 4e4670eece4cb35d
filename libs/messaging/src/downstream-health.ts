/** What the last replies, the breaker and a pause say of a service. */
import type { SinkHealth } from '@libs/pipeline';
import type { Breaker } from './downstream-breaker.ts';
import type { Pause } from './downstream-pause.ts';
import type { Reply } from './downstream-reply.ts';

export interface DownstreamHealth {
  note(reply: Reply, latencyMs: number): void;
  lastError(): string | undefined;
  state(breaker: Breaker, pause: Pause): SinkHealth;
}

export function createDownstreamHealth(): DownstreamHealth {
  let last: Reply | undefined;
  let latencyMs: number | undefined;

  const lastError = () =>
    last === undefined || last.kind === 'delivered' ? undefined : `${last.code}: ${last.message}`;

  /** One refused event says that the service works. */
  function state(breaker: Breaker, pause: Pause): SinkHealth['state'] {
    if (breaker.state() === 'open') return 'unhealthy';
    const isWeak = breaker.state() === 'half_open' || pause.leftMs() > 0 || last?.kind === 'failed';
    return isWeak ? 'degraded' : 'healthy';
  }

  function describe(breaker: Breaker, pause: Pause): string | undefined {
    const error = lastError();
    if (breaker.state() === 'open')
      return `circuit breaker open, next trial in ${Math.ceil(breaker.openForMs())} ms; ${error ?? ''}`;
    if (breaker.state() === 'half_open') return `circuit breaker half open; ${error ?? ''}`;
    if (pause.leftMs() > 0) return `paused for ${Math.ceil(pause.leftMs())} ms; ${pause.reason()}`;
    return error;
  }

  return {
    note(reply, ms) {
      last = reply;
      if (reply.kind === 'delivered') latencyMs = ms;
    },
    lastError,
    state(breaker, pause) {
      const error = describe(breaker, pause);
      return {
        state: state(breaker, pause),
        ...(latencyMs === undefined ? {} : { latencyMs }),
        ...(error === undefined ? {} : { lastError: error }),
      };
    },
  };
}
