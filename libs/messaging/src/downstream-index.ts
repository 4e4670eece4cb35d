export type { DownstreamDeps, DownstreamLogger, DownstreamOptions } from './downstream-service.ts';
export { createDownstreamSink } from './downstream-sink.ts';
