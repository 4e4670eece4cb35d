/** Events that a server has to reject, each kind for another reason. */

type Fields = Record<string, unknown>;

const SPOILERS: readonly ((event: Fields) => Fields)[] = [
  (event) => ({ ...event, eventType: 'cart_exploded' }),
  ({ sessionId: _gone, ...event }) => event,
  (event) => ({ ...event, timestamp: 'yesterday' }),
  (event) => ({ ...event, colour: 'blue' }),
  (event) => ({ ...event, storeId: 7 }),
];

/** The JSON of an event, spoiled in one of five ways; its id stays where it was. */
export function spoil(text: string, kind: number): string {
  const spoiler = SPOILERS[kind % SPOILERS.length] as (typeof SPOILERS)[number];
  return JSON.stringify(spoiler(JSON.parse(text) as Fields));
}
