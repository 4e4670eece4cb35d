/** What operators call, all of it answered by deliver. */
import type { Elysia } from 'elysia';
import { deadLetterRoutes } from './dead-letters.ts';
import type { RouteDeps } from './deps.ts';
import { createOperatorClient } from './operators-client.ts';
import { reconcileRoutes } from './reconcile.ts';
import { sinkRoutes } from './sinks.ts';
import { type TopicLimits, topicRoutes } from './topics.ts';

/** `limits` are those of topic readers. */
export function operatorRoutes(app: Elysia, deps: RouteDeps, limits?: TopicLimits): void {
  const operators = createOperatorClient(deps.ingestion);
  deadLetterRoutes(app, deps, operators);
  reconcileRoutes(app, deps, operators);
  sinkRoutes(app, deps, operators);
  topicRoutes(app, deps, operators, limits);
}
