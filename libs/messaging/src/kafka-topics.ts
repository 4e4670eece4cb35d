/** What we know of the topics that rows go to: how many partitions each has, or since when it is missing. */
import type { KafkaClient, NewTopicSettings, TopicState } from './kafka-client.ts';
import type { KafkaLogger } from './kafka-log.ts';

/** `missingForMs`: since the cluster said so first. */
export type KnownTopic = { readonly partitions: number } | { readonly missing: string; readonly missingForMs: number };

export interface KafkaTopics {
  /** Asks the cluster for all topics. Throws `KafkaError` when it does not answer. */
  refresh(signal: AbortSignal): Promise<void>;
  /** What is known, asked anew when that is old or unfavourable. Throws `KafkaError` when the cluster does not answer. */
  find(name: string, signal: AbortSignal): Promise<KnownTopic>;
  /** The next `find` asks the cluster. */
  doubt(name: string): void;
  /** One sentence for each topic that is missing. */
  problems(): string[];
}

export interface KafkaTopicsOptions {
  readonly names: readonly string[];
  readonly create: NewTopicSettings | undefined;
  readonly client: KafkaClient;
  readonly logger: KafkaLogger;
  readonly nowMs: () => number;
}

/** Kafka's own clients look for new partitions this often (metadata.max.age.ms). */
const AGE_MAX_MS = 300_000;
/** A missing topic is asked for again after this time. */
const MISSING_AGE_MAX_MS = 5_000;

interface Entry {
  readonly state: TopicState;
  readonly askedMs: number;
  readonly missingSinceMs: number;
}

export function createKafkaTopics(options: KafkaTopicsOptions): KafkaTopics {
  const { names, create, client, logger, nowMs } = options;
  const known = new Map<string, Entry>();
  const doubted = new Set<string>();

  async function ask(wanted: readonly string[], signal: AbortSignal): Promise<void> {
    const found = await client.findTopics(wanted, create, signal);
    for (const [name, state] of found) note(name, state);
  }

  function note(name: string, state: TopicState): void {
    const before = known.get(name);
    const askedMs = nowMs();
    const wasMissing = before !== undefined && 'missing' in before.state;
    doubted.delete(name);
    known.set(name, { state, askedMs, missingSinceMs: wasMissing ? before.missingSinceMs : askedMs });
    if ('missing' in state && !wasMissing) logger.error({ topic: name }, sentence(name, state.missing));
    if ('partitions' in state && wasMissing) logger.info({ topic: name }, `the Kafka topic ${name} is there again`);
  }

  function sentence(name: string, missing: string): string {
    const how = create === undefined ? ', and topics are only checked, not created: create it' : '';
    return `the Kafka topic ${name} cannot be written: ${missing}${how}`;
  }

  async function find(name: string, signal: AbortSignal): Promise<KnownTopic> {
    const entry = known.get(name);
    const ageMaxMs = entry !== undefined && 'missing' in entry.state ? MISSING_AGE_MAX_MS : AGE_MAX_MS;
    const isOld = entry === undefined || nowMs() - entry.askedMs >= ageMaxMs;
    if (isOld || doubted.has(name)) await ask([name], signal);
    const now = known.get(name);
    if (now === undefined) throw new Error(`no answer about the topic ${name}`);
    if ('partitions' in now.state) return now.state;
    return { missing: sentence(name, now.state.missing), missingForMs: now.askedMs - now.missingSinceMs };
  }

  return {
    refresh: (signal) => ask(names, signal),
    find,
    doubt: (name) => doubted.add(name),
    problems: () =>
      [...known].flatMap(([name, { state }]) => ('missing' in state ? [sentence(name, state.missing)] : [])),
  };
}
