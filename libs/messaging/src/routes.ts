/** Which Kafka topic an event type goes to: the shape of the configuration, its bounds, and what is there by default. */
import type { CartEvent } from '@libs/models';
import { z } from 'zod';

/** Built-in and registered event types have names of this form. */
export const EVENT_TYPE_NAME = /^[a-z][a-z0-9_]{0,63}$/;

/** Kafka's rule for topic names. Those that begin with two underscores are the brokers' own. */
const TOPIC_NAME = /^(?!\.{1,2}$)(?!__)[a-zA-Z0-9._-]{1,249}$/;

/** The message for a key of a record that does not have the form it must have: Zod's own does not say which. */
export function keyError(message: string) {
  return (issue: { readonly code?: string | undefined }) => (issue.code === 'invalid_key' ? message : undefined);
}

const topicNameSchema = z.string().regex(TOPIC_NAME, {
  error: 'a topic is 1 to 249 of a-z, A-Z, 0-9, dot, _ and -; not . or .. and not beginning with __',
});

/** The `routes` of a configuration file: event type → topic and key; the topic null means that the type is not routed. */
export const routesSchema = z
  .record(
    z.string().regex(EVENT_TYPE_NAME),
    z.strictObject({
      topic: topicNameSchema.nullable().meta({ description: 'The Kafka topic; null: this type is not routed.' }),
      key: z
        .literal('sessionId')
        .default('sessionId')
        .meta({ description: 'The field that is the message key: its events keep their order.' }),
    }),
    { error: keyError('is no name of an event type') },
  )
  .meta({ description: 'Kafka topics by event type, where they are to differ from the defaults.' });

export interface Route {
  readonly topic: string;
  readonly key: 'sessionId';
}

/** Event types that an operator has registered, with the topic that they ask for. */
export type RegisteredTypes = Readonly<Record<string, { readonly topic?: string | undefined }>>;

const BUILT_IN_TOPICS: Readonly<Record<string, string>> = {
  cart_created: 'cart.created',
  cart_updated: 'cart.updated',
  cart_abandoned: 'cart.abandoned',
  item_added: 'cart.item_added',
  item_removed: 'cart.item_removed',
  purchase_completed: 'cart.purchase_completed',
} satisfies Record<CartEvent['eventType'], string>;

/** The routes without any configuration: a registered type goes to the topic that it names, else to `events.<type>`. */
export function defaultRoutes(registered: RegisteredTypes): Map<string, Route> {
  const routes = new Map<string, Route>();
  for (const [type, topic] of Object.entries(BUILT_IN_TOPICS)) routes.set(type, { topic, key: 'sessionId' });
  for (const [type, { topic }] of Object.entries(registered))
    routes.set(type, { topic: topic ?? `events.${type}`, key: 'sessionId' });
  return routes;
}

export interface ResolvedRoutes {
  readonly routes: ReadonlyMap<string, Route>;
  /** Why they cannot be used: one sentence each, beginning with the place in the configuration. */
  readonly problems: readonly string[];
}

/** The defaults with the configured routes over them. */
export function resolveRoutes(configured: z.output<typeof routesSchema>, registered: RegisteredTypes): ResolvedRoutes {
  const routes = defaultRoutes(registered);
  const problems: string[] = [];
  for (const [type, { topic }] of Object.entries(registered)) {
    const parsed = topicNameSchema.safeParse(topic ?? `events.${type}`);
    if (!parsed.success) problems.push(`eventTypes.${type}.topic: ${parsed.error.issues[0]?.message}.`);
  }
  for (const [type, { topic, key }] of Object.entries(configured)) {
    if (!routes.has(type)) problems.push(`routes.${type}: this type is neither built in nor registered in eventTypes.`);
    if (topic === null) routes.delete(type);
    else routes.set(type, { topic, key });
  }
  return { routes, problems: [...problems, ...collisions(routes)] };
}

/** Kafka refuses to create a topic whose name differs from another one's only in dots and underscores. */
function collisions(routes: ReadonlyMap<string, Route>): string[] {
  const seen = new Map<string, string>();
  const problems: string[] = [];
  for (const [type, { topic }] of routes) {
    const folded = topic.replaceAll('.', '_');
    const other = seen.get(folded) ?? topic;
    seen.set(folded, other);
    if (other !== topic)
      problems.push(`routes.${type}: Kafka does not tell the topic ${topic} from ${other}; choose another name.`);
  }
  return problems;
}
