/** The event, once. The types, the fast check, the JSON Schema and the API docs all come from the schema built here. */
import { z } from 'zod';
import { TIMESTAMP_PATTERN } from './timestamp.ts';

export const BUILT_IN_EVENT_TYPES = [
  'cart_created',
  'cart_updated',
  'cart_abandoned',
  'item_added',
  'item_removed',
  'purchase_completed',
] as const;

/** Longest values of the three metadata fields that the server fills in, in Unicode code points as Zod counts. */
export const METADATA_CHARS_MAX = { userAgent: 1_024, ipAddress: 64, referrer: 2_048 } as const;

export const ID_CHARS_MAX = 128;
export const STORE_ID_CHARS_MAX = 64;

/**
 * Unicode's control characters (category Cc: C0, DEL and C1) and lone surrogates have no place in an id. DEL and C1
 * count because terminals and log viewers obey them as they obey C0.
 */
const ID_PATTERN = /^[^\p{Cc}\p{Cs}]*$/u;

export const EXAMPLE_EVENT = {
  eventId: '0199c2a4-7b1e-7c55-8a53-5f0c3d2e9a10',
  eventType: 'item_added',
  timestamp: '2026-03-14T09:26:53.589Z',
  userId: 'user-4711',
  sessionId: '5b0a6f0e-0d6c-4a3f-9a57-0f6f4d1c2b3a',
  storeId: 'garden-shop',
  data: { productId: 'hose-25m', quantity: 1, price: 24.9, currency: 'EUR' },
  metadata: { referrer: 'https://shop.example/watering' },
} as const;

function id(charsMax: number, description: string) {
  return z.string().min(1).max(charsMax).regex(ID_PATTERN).meta({ description });
}

/** The Zod schema of the event for these event types. Unknown top-level fields are refused. */
export function cartEventSchema(eventTypes: readonly string[], describeTypes: string) {
  return z
    .strictObject({
      eventId: id(
        ID_CHARS_MAX,
        'Identifies the event within its store; a second one with the same id is a duplicate. A UUID is best.',
      ),
      eventType: z.enum(eventTypes as readonly [string, ...string[]]).meta({ description: describeTypes }),
      timestamp: z.string().regex(TIMESTAMP_PATTERN).meta({
        format: 'date-time',
        description: 'When it happened: ISO 8601 with seconds and an offset, in 1970 to 2199 (UTC). Kept as sent.',
      }),
      userId: id(ID_CHARS_MAX, 'The shopper, where known.').optional(),
      sessionId: id(ID_CHARS_MAX, 'The session; events of one session keep their order.'),
      storeId: id(STORE_ID_CHARS_MAX, 'The store (tenant).'),
      data: z
        .looseObject({})
        .meta({ description: 'What the event says: any JSON object, bounded in depth, keys and bytes.' }),
      metadata: z
        .looseObject({
          userAgent: z.string().max(METADATA_CHARS_MAX.userAgent).optional(),
          ipAddress: z.string().max(METADATA_CHARS_MAX.ipAddress).optional(),
          referrer: z.string().max(METADATA_CHARS_MAX.referrer).optional(),
        })
        .optional()
        .meta({ description: 'About the request. userAgent, ipAddress and referrer are filled in when absent.' }),
    })
    .meta({ description: 'One cart event.', example: EXAMPLE_EVENT });
}

export type CartEventSchema = ReturnType<typeof cartEventSchema>;
export type CartEvent = z.infer<CartEventSchema>;
