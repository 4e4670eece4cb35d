/** The generator process: one load job as JSON in the argument, one result to the parent. Ends when the parent is gone. */
import type { GeneratorMessage, LoadJob } from './job.ts';
import { runLoad } from './load.ts';

function report(message: GeneratorMessage): void {
  process.send?.(message);
}

process.on('disconnect', () => process.exit(1));

runLoad(JSON.parse(process.argv[2] ?? '{}') as LoadJob, () => report({ type: 'began' })).then(
  (result) => report({ type: 'result', result }),
  (error: unknown) => report({ type: 'failed', message: error instanceof Error ? error.message : String(error) }),
);
