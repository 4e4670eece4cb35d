/** The accept process: takes events and acknowledges them. All that it needs to go on is its journal. */
import { JournalRefusal } from '@libs/journal';
import { createLogger } from '@libs/monitoring';
import { createLifecycle } from '@libs/pipeline';
import { acquireLock, attachToSupervisor, onShutdown, Refusal, refuse } from '@libs/runtime';
import { journalLock } from './paths.ts';
import { buildAccept } from './pipeline-accept.ts';
import { readSettings } from './settings-file.ts';

const WORKER = 0;
const LOCK_WAIT_MS = 15_000;
/** Time for the answers `retry` to leave before the process ends after a failed sync. */
const LAST_WORDS_MS = 250;

export async function runAccept(settingsFile: string): Promise<void> {
  const end = Promise.withResolvers<void>();
  const supervisor = await attachToSupervisor({ onGone: end.resolve });
  onShutdown({ signals: ['SIGTERM'], onFirst: () => end.resolve() });
  const config = readSettings(settingsFile);
  const logger = createLogger({ level: config.LOG_LEVEL, name: 'accept' });

  try {
    const lock = await acquireLock(journalLock(config, WORKER), { waitMs: LOCK_WAIT_MS, label: 'The journal' });
    const { journal, link, gate, stored, stream, server } = buildAccept(config, WORKER, logger, (error) => {
      logger.fatal(
        { err: error },
        'The journal could not be written: the process ends, and recovery decides what stands on the disk',
      );
      setTimeout(() => process.exit(1), LAST_WORDS_MS);
    });
    function closeGate(): Promise<void> {
      stored.close();
      return gate.close();
    }
    const stopTimeoutMs = config.SHUTDOWN_TIMEOUT_MS / 4;
    /** Listeners stop first; then the WebSockets go, since the server's own end waits for them. */
    async function stopServing(): Promise<void> {
      const stopped = server.stop();
      // A query may wait for a deliver that does not answer: it has half the time.
      const giveUp = setTimeout(() => link.giveUp(), stopTimeoutMs / 2);
      await stream.closeAll(1001, 'the service is shutting down');
      await stopped;
      clearTimeout(giveUp);
    }
    const lifecycle = createLifecycle([
      { name: 'lock', stop: () => lock.release() },
      { name: 'link', stop: () => link.close() },
      { name: 'journal', stopTimeoutMs, stop: async () => void (await journal.close()) },
      { name: 'server', stopTimeoutMs, start: async () => void (await server.listen()), stop: stopServing },
      { name: 'gate', stopTimeoutMs, stop: closeGate },
    ]);
    await lifecycle.start();
    supervisor.ready();
    await end.promise;
    const { failed } = await lifecycle.stop();
    if (failed.length > 0) logger.warn({ failed }, 'Not everything was stopped in time');
    process.exit(failed.length === 0 ? 0 : 1);
  } catch (error) {
    if (error instanceof JournalRefusal || error instanceof Refusal) refuse(error.message);
    throw error;
  }
}
