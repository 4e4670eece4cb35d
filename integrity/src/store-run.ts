/** One run by seed: writers write while the ClickHouse server fails, dies, freezes and comes back, and our processes die beside it. */
import type { FrontFault } from '@libs/database/testing';
import { createSeeded } from './seeded.ts';
import { HASTY, LOOKUP, type StoreOutage, startUnderLoad, type Victim } from './store-outage.ts';
import { until } from './until.ts';

export interface StoreRunOptions {
  readonly seed: number;
  /** Things that go wrong, now and then two at once. */
  readonly troubles: number;
  readonly say?: (line: string) => void;
}

export interface StoreRunReport {
  /** Broken promises, as sentences. Empty: all were kept. */
  readonly broken: readonly string[];
  readonly isHasty: boolean;
  readonly troubles: readonly string[];
  readonly stored: number;
  readonly answers: Readonly<Record<string, number>>;
  /** Blocks that were on their way when deliver died and were sent again. */
  readonly resentBlocks: number;
}

const FAULTS: readonly FrontFault[] = [
  'drop_before',
  'drop_after',
  'trailer_before',
  'trailer_after',
  'truncate',
  'late_300',
  'status_503',
  'code_202',
  'code_241',
  'code_252',
  'code_999',
  'kill_before',
  'kill_during',
  'kill_after',
];
/** Only where the time limit is short. */
const HANGING: readonly FrontFault[] = ['hang_before', 'hang_after', 'late_1800'];
const LOOKUP_FAULTS: readonly FrontFault[] = ['drop_before', 'drop_after', 'truncate', 'code_999', 'kill_before'];
const VICTIMS: readonly Victim[] = ['deliver', 'deliver', 'deliver', 'accept', 'all'];
/** A supervisor restarts a child ever more slowly: before that bores us, everything goes. */
const CHILD_KILLS_PER_LIFE = 3;
const TWO_SHARE = 0.3;

export async function runStoreTroubles(options: StoreRunOptions): Promise<StoreRunReport> {
  const { seed, troubles: wanted, say = () => undefined } = options;
  const random = createSeeded(seed);
  const isHasty = random.next() < 0.5;
  const faults = isHasty ? [...FAULTS, ...HANGING] : FAULTS;
  const outage = await startUnderLoad({ seed, rewrites: isHasty ? [HASTY] : [] });
  const { store, service } = outage;
  const troubles: string[] = [];
  let childKills = 0;

  /** Puts things wrong; what it returns puts them right. */
  const kinds: readonly (() => Promise<readonly [string, () => Promise<void>]>)[] = [
    async () => {
      await store.stop();
      return ['server stopped', store.restart];
    },
    async () => {
      await store.kill();
      return ['server killed', store.restart];
    },
    async () => {
      await store.freeze();
      return ['server frozen', store.thaw];
    },
    faulty,
    faulty,
    faulty,
  ];

  async function faulty(): Promise<readonly [string, () => Promise<void>]> {
    const insert = { fault: random.pick(faults), times: random.integer(1, 3) };
    const lookup = { fault: random.pick(LOOKUP_FAULTS), match: LOOKUP, times: 1 };
    const rules = random.next() < 0.4 ? [insert, lookup] : [insert];
    for (const rule of rules) if (isUp(outage)) await tryFault(rule);
    const named = rules.map(({ fault, times }) => `${fault} × ${times}`);
    return [named.join(' and '), clear];
  }

  /** One that kills may be served while the next one is on its way. */
  async function tryFault(rule: Parameters<typeof store.fault>[0]): Promise<void> {
    await store.fault(rule).catch(() => until(() => !isUp(outage), 'the server that took no fault has died'));
  }

  async function clear(): Promise<void> {
    if (isUp(outage)) await store.clearFaults().catch(() => store.restart());
    else await store.restart();
  }

  async function killOurs(): Promise<string> {
    const victim = childKills < CHILD_KILLS_PER_LIFE ? random.pick(VICTIMS) : 'all';
    childKills = victim === 'all' ? 0 : childKills + 1;
    await outage.kill(victim);
    return `${victim} killed`;
  }

  async function moment(msMax: number): Promise<void> {
    await outage.acknowledged(1);
    await Bun.sleep(random.integer(0, random.next() < 0.5 ? 20 : msMax));
  }

  async function trouble(): Promise<void> {
    const happened: string[] = [];
    const note = (what: string): void => {
      happened.push(what);
      say(what);
    };
    await moment(300);
    const isOurs = random.next() < 0.25;
    if (isOurs) note(await killOurs());
    if (!isOurs || random.next() < TWO_SHARE) {
      const [what, right] = await random.pick(kinds)();
      note(what);
      await moment(1_200);
      if (random.next() < TWO_SHARE) {
        note(await killOurs());
        await moment(300);
      }
      await right();
    }
    troubles.push(happened.join(', then '));
  }

  while (troubles.length < wanted) await trouble();
  const broken = await outage.finish();
  const output = service.output(Number.MAX_SAFE_INTEGER);
  return {
    broken,
    isHasty,
    troubles,
    stored: outage.ledger.counts().accepted,
    answers: { ...outage.ledger.counts() },
    resentBlocks: output.split('a block was on its way').length - 1,
  };
}

function isUp({ store }: StoreOutage): boolean {
  return store.pid() !== undefined;
}
