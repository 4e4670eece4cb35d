/** The accept process: takes events and acknowledges them. All that it needs to go on is its journal. */
import { JournalRefusal } from '@libs/journal';
import type { Logger } from '@libs/monitoring';
import type { LifecycleStep } from '@libs/pipeline';
import { acquireLock, Refusal } from '@libs/runtime';
import { LOCK_WAIT_MS, runChild } from './child-process.ts';
import type { Config } from './config.ts';
import { acceptName, journalLock } from './paths.ts';
import { buildAccept } from './pipeline-accept.ts';

/** Time for the answers `retry` to leave before the process ends after a failed sync. */
const LAST_WORDS_MS = 250;
/** What is still to be confirmed to other instances may take this long at the end. */
const REDIS_STOP_MS = 2_000;

/** `worker` counts from 0. */
export function runAccept(settingsFile: string, worker: number): Promise<void> {
  return runChild(settingsFile, {
    name: acceptName(worker),
    build: (config, logger) => build(config, worker, logger),
    isRefusal: (error) => error instanceof JournalRefusal || error instanceof Refusal,
  });
}

async function build(config: Config, worker: number, logger: Logger): Promise<readonly LifecycleStep[]> {
  const lock = await acquireLock(journalLock(config, worker), { waitMs: LOCK_WAIT_MS, label: 'The journal' });
  const { journal, link, shared, gate, stored, stream, server } = await buildAccept(config, worker, logger, (error) => {
    logger.fatal(
      { err: error },
      'The journal could not be written: the process ends, and recovery decides what stands on the disk',
    );
    setTimeout(() => process.exit(1), LAST_WORDS_MS);
  });
  const stopTimeoutMs = config.SHUTDOWN_TIMEOUT_MS / 4;

  function closeGate(): Promise<void> {
    stored.close();
    return gate.close();
  }

  /** Listeners stop first; then the WebSockets go, since the server's own end waits for them. */
  async function stopServing(): Promise<void> {
    const stopped = server.stop();
    // A query may wait for a deliver that does not answer: it has half the time.
    const giveUp = setTimeout(() => link.giveUp(), stopTimeoutMs / 2);
    await stream.closeAll(1001, 'the service is shutting down');
    await stopped;
    clearTimeout(giveUp);
  }

  return [
    { name: 'lock', stop: () => lock.release() },
    { name: 'link', stop: () => link.close() },
    ...(shared === undefined
      ? []
      : [{ name: 'redis', stopTimeoutMs: REDIS_STOP_MS, start: shared.start, stop: shared.stop }]),
    { name: 'journal', stopTimeoutMs, stop: async () => void (await journal.close()) },
    { name: 'server', stopTimeoutMs, start: async () => void (await server.listen()), stop: stopServing },
    { name: 'gate', stopTimeoutMs, stop: closeGate },
  ];
}
