/** Which topics there are: the routes of the configuration, seen from the other side. */

export interface Topic {
  readonly name: string;
  readonly eventTypes: readonly string[];
}

/** From event type → route to topics, in order of their names. */
export function topicsOf(routes: Readonly<Record<string, { readonly topic: string }>>): Topic[] {
  const types = new Map<string, string[]>();
  for (const [type, { topic }] of Object.entries(routes)) types.set(topic, [...(types.get(topic) ?? []), type]);
  return [...types].map(([name, eventTypes]) => ({ name, eventTypes })).sort((a, b) => (a.name < b.name ? -1 : 1));
}
