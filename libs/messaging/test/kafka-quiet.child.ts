/** Writes to a broker, and to one that is not there, and prints `done`: whatever else is printed comes from a library. */
import { deliver, FIRST, never, range, testSink } from './kafka-harness.ts';

const [brokers = '', topic = ''] = process.argv.slice(2);
const createTopics = { partitions: 2, replicationFactor: 1 };
const absent = testSink({ brokers: '127.0.0.1:1', topic });
await absent.sink.connect(never).catch(() => undefined);
await absent.sink.write(range(1, 10), FIRST).catch(() => undefined);
await absent.sink.close(never);
const present = testSink({ brokers, topic, createTopics, batchRowsMax: 20, compression: 'gzip' });
for (let block = 0; block < 4; block++) await deliver(present.sink, range(block * 100 + 1, block * 100 + 100));
await present.sink.close(AbortSignal.timeout(5_000));
process.stdout.write('done\n');
