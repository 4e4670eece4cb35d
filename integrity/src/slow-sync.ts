/** The service on a disk whose sync hangs or fails on command. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SentEvent } from './events.ts';
import type { Rewrite } from './fault-source.preload.ts';
import type { MaybeAnswer } from './http-client.ts';
import { pendingEvents, type Scenario, startScenario } from './scenario.ts';
import type { Seeded } from './seeded.ts';
import { temporaryFolder } from './service.ts';
import { until } from './until.ts';

export interface SlowSync extends Scenario {
  /** From the next sync on; fault-sync.preload.ts says what each one does. */
  fault(fault: '' | 'slow' | 'hang' | 'eio'): void;
  /** Has the journal's syncs in the thread pool. */
  moveToPool(): Promise<void>;
  /** Sends an event whose answer waits for the disk; resolves once the journal has taken it. */
  begin(event: SentEvent): Promise<Pending>;
}

export interface Pending {
  /** What it was told so far; undefined: nothing. */
  told(): MaybeAnswer;
  /** The answer, or undefined when the connection broke. */
  readonly answer: Promise<MaybeAnswer>;
}

export interface SlowSyncOptions {
  /** Lines of the service's own code that are changed on the way in. */
  readonly rewrites?: readonly Rewrite[];
  readonly settings?: Readonly<Record<string, string>>;
}

/** In one step: a sync that hangs reads the file all the time. */
export function switchFault(switchFile: string, fault: string): void {
  writeFileSync(`${switchFile}.part`, fault);
  renameSync(`${switchFile}.part`, switchFile);
}

export async function startSlowSync(random: Seeded, options: SlowSyncOptions = {}): Promise<SlowSync> {
  const switchFile = join(temporaryFolder(), 'fault');
  const scenario = await startScenario(random, {
    preloads: ['fault-sync.preload.ts', 'fault-source.preload.ts'],
    settings: {
      INTEGRITY_SYNC_FAULT: switchFile,
      INTEGRITY_REWRITE: JSON.stringify(options.rewrites ?? []),
      ...options.settings,
    },
  });
  const { client, events, service } = scenario;
  const fault: SlowSync['fault'] = (name) => switchFault(switchFile, name);

  async function moveToPool(): Promise<void> {
    fault('slow');
    for (let n = 0; n < 3; n++) await client.single(events.good());
  }

  async function begin(event: SentEvent): Promise<Pending> {
    const before = await pendingEvents(service.url);
    let told: MaybeAnswer;
    const answer = client.single(event).then((came) => {
      told = came;
      return came;
    });
    await until(async () => (await pendingEvents(service.url)) > before, `the journal has taken ${event.key}`);
    return { told: () => told, answer };
  }

  return { ...scenario, fault, moveToPool, begin };
}
