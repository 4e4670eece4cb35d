export { type Batcher, type BatchLimits, createBatcher } from './batcher.ts';
export * from './contracts.ts';
export { Overloaded, Permanent, type PermanentScope, Retryable } from './errors.ts';
export { journalTag } from './journal-tag.ts';
export { createLifecycle, type Lifecycle, type LifecycleStep, type StopReport } from './lifecycle.ts';
export {
  type BackoffLimits,
  backoffMs,
  OVERLOAD_WAIT_MAX_MS,
  type RetryOptions,
  retry,
  type Sleep,
  sleep,
} from './retry.ts';
