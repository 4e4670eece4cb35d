/** Runs one load in a process of its own, so that it shares nothing with another one, nor with whoever asks for it. */
import { join } from 'node:path';
import type { Children } from './children.ts';
import type { GeneratorMessage, LoadJob, LoadResult } from './job.ts';
import type { Pinning } from './pinning.ts';

const ENTRY = join(import.meta.dir, 'generator.ts');
const EXTRA_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 2_000;

/** `began` is called when the measured seconds begin. */
export type RunGenerator = (job: LoadJob, began?: () => void) => Promise<LoadResult>;

export function createRunGenerator(children: Children, pinning: Pinning): RunGenerator {
  return async (job, began) => {
    const answered = Promise.withResolvers<Exclude<GeneratorMessage, { type: 'began' }>>();
    const child = children.spawn({
      argv: [...pinning.generatorPrefix, process.execPath, ENTRY, JSON.stringify(job)],
      onMessage(message) {
        const read = message as GeneratorMessage;
        if (read.type === 'began') began?.();
        else answered.resolve(read);
      },
    });
    const timeoutMs = (job.warmupSeconds + job.seconds) * 1000 + EXTRA_TIMEOUT_MS;
    const timer = setTimeout(() => answered.reject(new Error('the generator did not end in time')), timeoutMs);
    void child.exited.then((code) => answered.reject(new Error(`the generator ended (${code}): ${child.lastWords()}`)));
    try {
      const message = await answered.promise;
      if (message.type === 'failed')
        throw new Error(`the generator could not load ${job.host}:${job.port}: ${message.message}`);
      return message.result;
    } finally {
      clearTimeout(timer);
      await child.stop(STOP_TIMEOUT_MS);
    }
  };
}
