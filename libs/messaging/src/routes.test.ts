import { describe, expect, test } from 'bun:test';
import { defaultRoutes, resolveRoutes, routesSchema } from './routes.ts';

const topicsOf = (routes: ReadonlyMap<string, { readonly topic: string }>) =>
  Object.fromEntries([...routes].map(([type, { topic }]) => [type, topic]));

const DEFAULTS = {
  cart_created: 'cart.created',
  cart_updated: 'cart.updated',
  cart_abandoned: 'cart.abandoned',
  item_added: 'cart.item_added',
  item_removed: 'cart.item_removed',
  purchase_completed: 'cart.purchase_completed',
};

describe('defaultRoutes', () => {
  test('every built-in type has its topic, keyed by session', () => {
    const routes = defaultRoutes({});
    expect(topicsOf(routes)).toEqual(DEFAULTS);
    expect(new Set([...routes.values()].map(({ key }) => key))).toEqual(new Set(['sessionId']));
  });

  test('a registered type goes to events.<type>, or where it says', () => {
    expect(topicsOf(defaultRoutes({ wishlist_added: {}, page_viewed: { topic: 'Pages-1' } }))).toEqual({
      ...DEFAULTS,
      wishlist_added: 'events.wishlist_added',
      page_viewed: 'Pages-1',
    });
  });
});

describe('routesSchema', () => {
  test.each(['a', 'A.b_c-9', 'x'.repeat(249), '...', '_x'])('%j is a topic', (topic) => {
    expect(routesSchema.parse({ item_added: { topic } })).toEqual({ item_added: { topic, key: 'sessionId' } });
  });

  test.each(['', '.', '..', 'a b', 'a/b', 'größe', 'x'.repeat(250), '__consumer_offsets', 'a\n'])(
    '%j is none',
    (topic) => {
      const parsed = routesSchema.safeParse({ item_added: { topic } });
      expect(parsed.error?.issues[0]?.path).toEqual(['item_added', 'topic']);
      expect(parsed.error?.issues[0]?.message).toStartWith('a topic is 1 to 249 of');
    },
  );

  test('other keys, unknown settings and names that are no type are refused', () => {
    expect(routesSchema.safeParse({ item_added: { topic: 't', key: 'storeId' } }).success).toBe(false);
    expect(routesSchema.safeParse({ item_added: { topic: 't', acks: 1 } }).success).toBe(false);
    expect(routesSchema.safeParse({ 'Item Added': { topic: 't' } }).success).toBe(false);
  });
});

describe('resolveRoutes', () => {
  test('configured routes win; the topic null takes one away; several types may share a topic', () => {
    const configured = routesSchema.parse({
      item_added: { topic: 'items' },
      item_removed: { topic: 'items' },
      cart_created: { topic: null },
      wish: { topic: 'wishes' },
    });
    const { routes, problems } = resolveRoutes(configured, { wish: { topic: 'other' } });
    expect(problems).toEqual([]);
    const { cart_created: _, ...rest } = DEFAULTS;
    expect(topicsOf(routes)).toEqual({ ...rest, item_added: 'items', item_removed: 'items', wish: 'wishes' });
  });

  test('every problem at once: unknown types, topics that Kafka refuses or cannot tell apart', () => {
    const configured = routesSchema.parse({ nobody: { topic: 't' }, item_added: { topic: 'cart_updated' } });
    const { problems } = resolveRoutes(configured, { wish: { topic: 'a b' } });
    expect(problems).toEqual([
      expect.stringMatching(/^eventTypes\.wish\.topic: a topic is 1 to 249/),
      'routes.nobody: this type is neither built in nor registered in eventTypes.',
      'routes.item_added: Kafka does not tell the topic cart_updated from cart.updated; choose another name.',
    ]);
  });
});
