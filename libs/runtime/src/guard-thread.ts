/** The guard thread of a child: kills the process when its supervisor has been gone for `graceMs` milliseconds. */
import { isRunning, type ProcessIdentity } from './identity.ts';

const POLL_MS = 1_000;

declare const self: Worker;

self.onmessage = (event: MessageEvent<{ supervisor: ProcessIdentity; graceMs: number }>) => {
  const { supervisor, graceMs } = event.data;
  const poll = setInterval(() => {
    if (isRunning(supervisor)) return;
    clearInterval(poll);
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), graceMs);
  }, POLL_MS);
};
