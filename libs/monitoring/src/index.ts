export { type Exposition, wantsExposition } from './exposition.ts';
export { aggregateStatus, type HealthStatus, overallStatus, type ServiceHealth, type ServiceReport } from './health.ts';
export type { FixedHistogram, HistogramSnapshot } from './histogram.ts';
export { fileDescriptorDestination, type LogDestination } from './log-destination.ts';
export { createLogger, LOG_LEVELS, type Logger, type LoggerOptions, type LogLevel, type LogMethod } from './logger.ts';
export { createMetrics, type Labels, type Metrics, type MetricsOptions, type Series } from './metrics.ts';
