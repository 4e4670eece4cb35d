/** Reads topics back with kcat (librdkafka): a consumer that shares no code with ours. */

export interface KafkaMessage {
  readonly partition: number;
  readonly offset: number;
  readonly timestampMs: number;
  readonly key: string | null;
  /** Null is a tombstone. */
  readonly value: string | null;
  /** Name and value, in the order in which they stand in the message. */
  readonly headers: readonly (readonly [string, string])[];
}

export interface KcatOptions {
  readonly brokers: string;
  readonly topic: string;
  /** librdkafka's configuration, such as `{ 'security.protocol': 'ssl', 'ssl.ca.location': file }`. */
  readonly config?: Readonly<Record<string, string>>;
  /** Default 60,000. */
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 60_000;

/** Every message that the topic holds now, of each partition in the order of its offsets, one after the other. */
export async function* consume(options: KcatOptions): AsyncGenerator<KafkaMessage> {
  for await (const line of lines(options, ['-J'])) yield parse(line);
}

/** As `consume`, as a list: for topics that fit into memory. */
export async function readTopic(options: KcatOptions): Promise<KafkaMessage[]> {
  return Array.fromAsync(consume(options));
}

/** How many messages can be read from the topic: counted one by one, not worked out from offsets. */
export async function countMessages(options: KcatOptions): Promise<number> {
  let count = 0;
  for await (const _line of lines(options, ['-f', '%o\n'])) count += 1;
  return count;
}

interface KcatLine {
  readonly partition: number;
  readonly offset: number;
  readonly ts: number;
  readonly key: string | null;
  readonly payload: string | null;
  /** Names and values in turn. */
  readonly headers?: readonly string[];
}

function parse(line: string): KafkaMessage {
  const { partition, offset, ts, key, payload, headers = [] } = JSON.parse(line) as KcatLine;
  const pairs: [string, string][] = [];
  for (let at = 0; at + 1 < headers.length; at += 2) pairs.push([headers[at] ?? '', headers[at + 1] ?? '']);
  return { partition, offset, timestampMs: ts, key, value: payload, headers: pairs };
}

async function* lines(options: KcatOptions, format: readonly string[]): AsyncGenerator<string> {
  const { brokers, topic, config = {}, timeoutMs = TIMEOUT_MS } = options;
  const settings = Object.entries(config).flatMap(([name, value]) => ['-X', `${name}=${value}`]);
  const consumer = ['-C', '-b', brokers, '-t', topic, '-o', 'beginning', '-e'];
  // `-e` ends at the end of every partition; a consumer that is refused would try for ever, hence the time limit.
  const child = Bun.spawn(['kcat', ...consumer, ...format, ...settings], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
  });
  const errors = child.stderr.text();
  try {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of child.stdout) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n');
      rest = parts.pop() ?? '';
      yield* parts;
    }
    const code = await child.exited;
    if (code !== 0) throw new Error(`kcat could not read ${topic} (exit code ${code}): ${await errors}`);
  } finally {
    child.kill('SIGKILL');
  }
}
