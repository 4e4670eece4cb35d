import { afterEach, test } from 'bun:test';
import { cleanUpKafka, HASTY, startKafkaRun } from '/work/main/integrity/src/kafka-run.ts';
afterEach(cleanUpKafka);
const SINK = 'libs/messaging/src/kafka-sink.ts';
test('x', async () => {
  const run = await startKafkaRun({ seed: 1, rewrites: [HASTY, 
        { file: SINK, find: 'throw asPipelineError(\n', replace: 'console.error("DROP", error.message, byTopic.size); return [];\n      asPipelineError(\n' },
        { file: SINK, find: 'toSorted((a, b) => a.seq - b.seq);', replace: 'filter((f) => { console.error("DROPF", f.message); return false; });' },
      ] });
  run.load();
  await run.acknowledged(300);
  await run.kafka.kill();
  console.log('killed');
  const s = await run.sinkIs('kafka', ({ state }) => state !== 'healthy', 'away');
  console.log(s);
  await run.kafka.restart();
  await run.acknowledged(100);
  const f = await run.finish();
  console.log(f.broken.slice(0,5));
  console.log(run.service.output(1e9).split('\n').filter((l) => /DROP|did not take|connect/.test(l)).map((l) => l.slice(0, 420)).slice(0, 12).join('\n'));
}, 120000);
