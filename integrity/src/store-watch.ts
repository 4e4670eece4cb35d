/** Looks at `/health` and `/health/ready` all the time, as a load balancer and an operator's dashboard do. */
import { askJson } from './audit.ts';
import { until } from './until.ts';

/** As `/health` shows it. */
export interface StoreHealth {
  readonly state: 'healthy' | 'degraded' | 'unhealthy';
  readonly lastError?: string;
  readonly pendingEvents?: number;
}

export interface StoreWatch {
  /** Waits until `/health` says that the store is not healthy, and why. */
  away(why?: RegExp): Promise<void>;
  /** Waits until `/health` says that it is healthy, without an error. */
  back(): Promise<void>;
  /** Ends the watching. Answers that nobody should have seen, as sentences; while nobody listens there are none. */
  end(): Promise<readonly string[]>;
}

const INTERVAL_MS = 50;
const REQUEST_TIMEOUT_MS = 10_000;

export function startStoreWatch(url: string): StoreWatch {
  const wrong = new Set<string>();
  let ended = false;

  async function look(path: string): Promise<void> {
    try {
      const answer = await fetch(`${url}${path}`, {
        keepalive: false,
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const text = await answer.text();
      if (answer.status !== 200 && !ended) wrong.add(`${path} answered ${answer.status}: ${text.slice(0, 300)}`);
    } catch (error) {
      if ((error as Error).name === 'TimeoutError') wrong.add(`${path} did not answer in ${REQUEST_TIMEOUT_MS} ms`);
    }
  }

  async function watch(): Promise<void> {
    while (!ended) {
      await look('/health/ready');
      await look('/health');
      await Bun.sleep(INTERVAL_MS);
    }
  }

  async function untilStore(isSo: (health: StoreHealth) => boolean, what: string): Promise<void> {
    let last: StoreHealth | undefined;
    await until(
      async () => {
        const health = (await askJson(`${url}/health`)) as { services?: { clickhouse?: StoreHealth } } | undefined;
        last = health?.services?.clickhouse;
        return last !== undefined && isSo(last);
      },
      () => `/health says that the store is ${what}; it says ${JSON.stringify(last)}`,
    );
  }

  const watching = watch();
  return {
    away: (why = /./) =>
      untilStore(({ state, lastError = '' }) => state !== 'healthy' && why.test(lastError), `away (${why})`),
    back: () => untilStore(({ state, lastError }) => state === 'healthy' && lastError === undefined, 'healthy'),
    async end() {
      ended = true;
      await watching;
      return [...wrong];
    },
  };
}
