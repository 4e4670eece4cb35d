/** `weir start`: becomes the service. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CommandError, EXIT_CODE, reasonOf } from './exit-code.ts';

/** The service's entry, beside this app. */
export const INGESTION_ENTRY = join(import.meta.dir, '../../ingestion/src/main.ts');

/**
 * Replaces this process by the service, with the same process id: signals reach it without anybody forwarding them,
 * its exit code is ours, and nothing stays behind that could be killed apart from it. Returns only by throwing.
 */
export function startService(
  entry: string,
  args: readonly string[],
  environment: Readonly<Record<string, string>>,
): never {
  if (!existsSync(entry)) {
    throw new CommandError(EXIT_CODE.failed, 'service_missing', 'The service is not installed beside this command.');
  }
  if (process.execve === undefined) {
    throw new CommandError(EXIT_CODE.failed, 'unsupported_platform', 'weir start needs Linux or macOS: use npm start.');
  }
  const failed = (reason: string) =>
    new CommandError(EXIT_CODE.failed, 'start_failed', `The service cannot be started: ${reason}.`);
  try {
    process.execve(process.execPath, [process.execPath, entry, ...args], { ...environment });
  } catch (error) {
    throw failed(reasonOf(error));
  }
  throw failed('the process went on');
}
