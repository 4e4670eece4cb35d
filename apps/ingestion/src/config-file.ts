/** The JSON file of `WEIR_CONFIG`: event types, Kafka topics, downstream services. */
import { readFileSync } from 'node:fs';
import {
  type Downstreams,
  defaultDownstreams,
  downstreamsSchema,
  unknownDownstreamTypes,
} from '@libs/messaging/downstream-options';
import { type Route, resolveRoutes, routesSchema } from '@libs/messaging/routes';
import { createEventModel, DEFAULT_EVENT_LIMITS, eventTypesSchema, InvalidEventTypes } from '@libs/models';
import { z } from 'zod';
import type { Environment } from './environment.ts';

const FILE = z.strictObject({
  $schema: z.string().optional(),
  eventTypes: eventTypesSchema.default({}),
  routes: routesSchema.default({}),
  downstreams: z.record(z.string(), z.looseObject({})).default({}),
});

export interface Routing {
  readonly eventTypes: z.output<typeof eventTypesSchema>;
  /** Kafka's topics by event type: also what `GET /topics` knows while there are no brokers. */
  readonly routes: Readonly<Record<string, Route>>;
  readonly downstreams: Downstreams;
}

/** Reads the file, or only the defaults when there is none; adds to `problems` all that is wrong. */
export function readConfigFile(
  file: string | undefined,
  values: Environment | undefined,
  problems: string[],
): Routing | undefined {
  const where = file ?? 'the defaults';
  const parsed = FILE.safeParse(file === undefined ? {} : readJson(file, problems));
  if (!parsed.success) {
    problems.push(...sentences(where, '', parsed.error));
    return undefined;
  }
  const { eventTypes, routes, downstreams } = parsed.data;
  let types: ReadonlySet<string>;
  try {
    types = new Set(createEventModel({ eventTypes, limits: DEFAULT_EVENT_LIMITS }).types);
  } catch (error) {
    if (!(error instanceof InvalidEventTypes)) throw error;
    problems.push(...error.problems.map((problem) => `${where}: ${problem}`));
    return undefined;
  }
  const resolved = resolveRoutes(routes, eventTypes);
  problems.push(...resolved.problems.map((problem) => `${where}: ${problem}`));
  const urls = {
    prediction: values?.PREDICTION_URL,
    analytics: values?.ANALYTICS_URL,
    completion: values?.COMPLETION_URL,
  };
  const services = downstreamsSchema.safeParse(overDefaults(defaultDownstreams(urls), downstreams));
  if (!services.success) {
    problems.push(...sentences(where, 'downstreams', services.error));
    return undefined;
  }
  problems.push(...unknownDownstreamTypes(services.data, types).map((problem) => `${where}: ${problem}`));
  return { eventTypes, routes: Object.fromEntries(resolved.routes), downstreams: services.data };
}

function readJson(file: string, problems: string[]): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch (error) {
    problems.push(`${file}: cannot be read as JSON: ${(error as Error).message}`);
    return {};
  }
}

/** What the file says of a built-in downstream is added to what its environment variable says. */
function overDefaults(defaults: Record<string, object>, given: Record<string, object>): Record<string, object> {
  const merged: Record<string, object> = { ...defaults };
  for (const [name, one] of Object.entries(given)) merged[name] = { ...merged[name], ...one };
  return merged;
}

function sentences(where: string, prefix: string, error: z.ZodError): string[] {
  return error.issues.map((issue) => {
    const path = [prefix, ...issue.path.map(String)].filter((part) => part !== '').join('.');
    return `${where}: ${path || 'the file'}: ${issue.message}.`;
  });
}
