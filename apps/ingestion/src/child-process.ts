/** What accept and deliver have in common as processes: begin when the supervisor says so, serve, end in order. */
import { createLogger, type Logger } from '@libs/monitoring';
import { createLifecycle, type LifecycleStep } from '@libs/pipeline';
import { attachToSupervisor, onShutdown, refuse } from '@libs/runtime';
import type { Config } from './config.ts';
import { readSettings } from './settings-file.ts';

/** How long a predecessor's kernel lock is waited for. */
export const LOCK_WAIT_MS = 15_000;

export interface ChildRole {
  readonly name: string;
  /** Builds what is to be started, in this order, and stopped, last first. */
  readonly build: (config: Config, logger: Logger) => Promise<readonly LifecycleStep[]>;
  /** True for an error that only a person can mend: its message is the sentence that the process refuses with. */
  readonly isRefusal: (error: unknown) => error is Error;
}

/** Runs until the supervisor, or its end, asks for an end; then the process exits: 0 after an orderly end, else 1. */
export async function runChild(settingsFile: string, role: ChildRole): Promise<void> {
  const end = Promise.withResolvers<void>();
  const supervisor = await attachToSupervisor({ onGone: end.resolve });
  onShutdown({ signals: ['SIGTERM'], onFirst: () => end.resolve() });
  const config = readSettings(settingsFile);
  const logger = createLogger({ level: config.LOG_LEVEL, name: role.name });
  try {
    const lifecycle = createLifecycle(await role.build(config, logger));
    await lifecycle.start();
    supervisor.ready();
    // What only the start needed.
    Bun.gc(true);
    await end.promise;
    const { failed } = await lifecycle.stop();
    if (failed.length > 0) logger.warn({ failed }, 'Not everything was stopped in time');
    process.exit(failed.length === 0 ? 0 : 1);
  } catch (error) {
    if (role.isRefusal(error)) refuse(error.message);
    throw error;
  }
}
