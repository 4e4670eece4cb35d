/** What the scripted tests share: a service, a client, a ledger, and the audit at the end. */
import { askJson, compare, compareCounters, drain, readStored } from './audit.ts';
import { createEventMaker, type EventMaker, type SentEvent } from './events.ts';
import { createHttpClient, type HttpClient } from './http-client.ts';
import { createLedger, type Ledger } from './ledger.ts';
import type { Seeded } from './seeded.ts';
import { createService, type Service, type ServiceOptions } from './service.ts';
import { until } from './until.ts';

export interface Scenario {
  readonly service: Service;
  readonly ledger: Ledger;
  readonly client: HttpClient;
  readonly events: EventMaker;
  /** Sends it until it is accepted or a duplicate. */
  untilAnswered(event: SentEvent): Promise<void>;
  /** Sends new events until one of them, alone, is refused because the journal is full. A larger one then is, too. */
  untilFull(): Promise<void>;
  /** Status of `/health/ready` and its body. */
  ready(): Promise<readonly [number, Record<string, unknown>]>;
  /** Broken promises, after everything is stored and the service has ended. */
  audit(): Promise<string[]>;
}

const BATCH_EVENTS = 40;

/** Starts the service. */
export async function startScenario(random: Seeded, options: ServiceOptions = {}): Promise<Scenario> {
  const service = createService(options);
  const ledger = createLedger();
  const client = createHttpClient(service.url, ledger);
  const events = createEventMaker(random, 'scripted', 'scripted');
  await service.start();

  async function untilAnswered(event: SentEvent): Promise<void> {
    await until(
      async () => ['accepted', 'duplicate'].includes((await client.single(event))?.kind ?? ''),
      () => `${event.key} is answered:\n${service.output()}`,
    );
  }

  async function untilFull(): Promise<void> {
    await until(
      async () => {
        await client.batch(Array.from({ length: BATCH_EVENTS }, events.good), 'json');
        const answer = await client.single(events.good());
        return answer?.kind === 'retry' && answer.code === 'journal_full';
      },
      () => `the journal is full:\n${service.output()}`,
    );
  }

  async function audit(): Promise<string[]> {
    const drained = await drain(service.url);
    const stored = await readStored(service.url);
    const broken = [...(drained ? [] : ['the journal was not drained']), ...compare(ledger, stored)];
    const code = await service.stop();
    if (code !== 0) broken.push(`SIGTERM ended with exit code ${code}:\n${service.output()}`);
    return [...broken, ...compareCounters([service.dataFolder], stored)];
  }

  async function ready(): Promise<readonly [number, Record<string, unknown>]> {
    const response = await fetch(`${service.url}/health/ready`);
    return [response.status, (await response.json()) as Record<string, unknown>];
  }

  return { service, ledger, client, events, untilAnswered, untilFull, ready, audit };
}

/** Events that the journal has taken and not every sink has; those whose sync hangs are among them. */
export async function pendingEvents(url: string): Promise<number> {
  const health = (await askJson(`${url}/health`)) as { services: { journal: { pendingEvents: number } } } | undefined;
  if (health === undefined) throw new Error('/health does not answer');
  return health.services.journal.pendingEvents;
}
