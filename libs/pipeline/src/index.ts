export * from './contracts.ts';
export { Overloaded, Permanent, Retryable } from './errors.ts';
export { createLifecycle, type Lifecycle, type LifecycleStep, type StopReport } from './lifecycle.ts';
