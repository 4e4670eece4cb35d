/**
 * The stand-in server as a process of its own. Arguments: the folder, and optionally `FrontOptions` as JSON. Prints its
 * URL as one line once it answers; ends in order on SIGTERM and SIGINT.
 */
import { type FrontOptions, startClickHouseFront } from './testing-front.ts';

const [folder = '', options = '{}'] = process.argv.slice(2);
const given = JSON.parse(options) as FrontOptions;
const front = await startClickHouseFront(folder, { ...given, kill: () => process.kill(process.pid, 'SIGKILL') });

function stop(): void {
  front.close().then(
    () => process.exit(0),
    () => process.exit(1),
  );
}
process.once('SIGTERM', stop);
process.once('SIGINT', stop);
process.stdout.write(`${front.url}\n`);
