/** A stranger who posts an event every now and then, each on a connection of its own. */
import { createEvents } from './events.ts';
import { createRandom } from './random.ts';
import { type Percentiles, percentilesOf } from './samples.ts';

export interface ProbeResult {
  /** From the start of the connection to the whole answer. */
  readonly latency: Percentiles;
  /** After the first answer: no answer, or another one than 202. */
  readonly failures: number;
}

const INTERVAL_MS = 25;
const TIMEOUT_MS = 10_000;

/** What comes before the first answer is of no account: the service is still starting. */
export function startProbe(url: string, seed: number): { stop(): Promise<ProbeResult> } {
  const nextEvent = createEvents({ random: createRandom(seed), titles: 'ascii' });
  const latencies: number[] = [];
  let failures = 0;
  let isStopping = false;

  async function post(): Promise<boolean> {
    const body = nextEvent();
    try {
      const headers = { 'content-type': 'application/json' };
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      const response = await fetch(`${url}/events`, { method: 'POST', body, headers, keepalive: false, signal });
      await response.arrayBuffer();
      return response.status === 202;
    } catch {
      return false;
    }
  }

  async function run(): Promise<void> {
    while (!isStopping) {
      const startMs = performance.now();
      const isAnswered = await post();
      const tookMs = performance.now() - startMs;
      if (isAnswered) latencies.push(tookMs);
      else if (latencies.length > 0) failures += 1;
      await Bun.sleep(Math.max(0, INTERVAL_MS - tookMs));
    }
  }

  const done = run();
  return {
    async stop() {
      isStopping = true;
      await done;
      return { latency: percentilesOf(Float64Array.from(latencies)), failures };
    },
  };
}
