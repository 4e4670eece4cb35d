/** Waiting for conditions, with deadlines that only a hang can reach. */

const POLL_MS = 10;
const TIMEOUT_MS = 60_000;

/** Polls until the condition holds; throws with `what` when it does not within `timeoutMs` milliseconds. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  timeoutMs = TIMEOUT_MS,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline)
      throw new Error(`Not within ${timeoutMs} ms: ${typeof what === 'string' ? what : what()}`);
    await Bun.sleep(POLL_MS);
  }
}
