/** How an accept process takes and gives back memory: settings of its runtime, by environment, for the Bun that is pinned. */
export const ACCEPT_MEMORY: Readonly<Record<string, string>> = {
  /**
   * Freed memory goes back to the system after 10 s, in milliseconds. The default, 10 ms, gives back what the next batch
   * fetches again: a tenth of the processor time of a batch.
   */
  MIMALLOC_PURGE_DELAY: '10000',
  /**
   * Garbage is collected as on a machine of this many bytes: the heap may double while it is below a quarter of that, and grow by a
   * quarter when it is above a half. By default it may quadruple where there is much memory, and the ids of the dedupe window
   * count: with 400 MB of ids the process took 830 to 1,140 MB instead of 640, and a tenth more processor time for each batch.
   */
  BUN_JSC_forceRAMSize: '500000000',
};
