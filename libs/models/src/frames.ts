/** The messages of the WebSocket /events/stream, from the client and from the server. */
import { ACK_LEVELS } from '@libs/pipeline';
import { z } from 'zod';
import { ID_CHARS_MAX } from './cart-event.ts';

const EXAMPLE_ID = '0199c2a4-7b1e-7c55-8a53-5f0c3d2e9a10';
const EXAMPLE_TIME = '2026-03-14T09:26:53.700Z';
const EXAMPLE_POSITION = '0199c2a4-0000-7000-8000-00000000beef:42';

const seq = z.int().min(0).meta({ description: "The client's own counter, one more for each event." });
const timestamp = z.string().max(64);

/** What every message from a client may carry. */
const envelope = {
  timestamp: timestamp.optional().meta({ description: 'When the client sent it.' }),
  eventId: z
    .string()
    .max(ID_CHARS_MAX)
    .optional()
    .meta({ description: 'Repeated in errors when the payload has none that can be read.' }),
  seq: seq.optional(),
};

export const cartEventFrameSchema = z
  .strictObject({
    type: z.literal('cart_event'),
    payload: z.union([z.looseObject({}), z.array(z.unknown())]).meta({
      description: 'One event, or an array of up to 1,000; the seq of an array is that of its first event.',
    }),
    ...envelope,
  })
  .meta({ description: 'Events to take in.' });

const subscriptionSchema = z.strictObject({
  confirmations: z.boolean().optional().meta({
    description:
      'event_confirmed as each event is stored and, where it goes further, routed; when absent, true unless acks is there.',
  }),
  acks: z.literal('cumulative').optional().meta({
    description: 'One event_ack with throughSeq for everything up to it; every cart_event then needs seq.',
  }),
});

const heartbeatSchema = z
  .strictObject({ type: z.literal('heartbeat'), payload: z.unknown().optional(), ...envelope })
  .meta({ description: 'Says that the client lives.' });
const subscribeSchema = z
  .strictObject({ type: z.literal('subscribe'), payload: subscriptionSchema.optional(), ...envelope })
  .meta({ description: 'Asks for confirmations, or for cumulative acks, from now on.' });
const unsubscribeSchema = z
  .strictObject({ type: z.literal('unsubscribe'), payload: subscriptionSchema.optional(), ...envelope })
  .meta({ description: 'Ends what it names.' });

export const clientFrameSchema = z
  .discriminatedUnion('type', [cartEventFrameSchema, heartbeatSchema, subscribeSchema, unsubscribeSchema])
  .meta({ description: 'A message from the client.', example: { type: 'heartbeat' } });

const stamped = { timestamp: timestamp.meta({ description: 'When the server sent it.' }) };
const throughSeq = seq.meta({ description: 'Everything up to here is on disk, a duplicate, or was rejected.' });
const reconnect = z
  .int()
  .min(0)
  .optional()
  .meta({ description: 'When to connect again; another number for everybody.' });
const position = z.string().meta({ description: '`<journal>:<seq>`: where the row stands.' });

export const serverFrameSchema = z
  .union([
    z
      .looseObject({
        type: z.literal('hello'),
        ...stamped,
        connectionId: z.string(),
        credit: z.int().min(1).meta({ description: 'Events that may be unacknowledged at once.' }),
        maxFrameBytes: z.int().min(1),
        heartbeatIntervalMs: z.int().min(1),
        resume: z.string().optional().meta({ description: 'The token for ?resume= on the next connection.' }),
        recovered: z.boolean().optional().meta({
          description: 'After ?resume=: whether it is known what the connection before had sent.',
        }),
        throughSeq: throughSeq.optional(),
        errorsDropped: z.int().min(1).optional().meta({
          description: 'Earlier errors that are not repeated, because too many were to be remembered.',
        }),
      })
      .meta({ description: 'The first message on every connection.' }),
    z
      .looseObject({
        type: z.literal('event_ack'),
        ...stamped,
        eventId: z.string(),
        seq: seq.optional(),
        status: z.enum(['received', 'duplicate']),
        position: position.optional(),
      })
      .meta({ description: 'The event is on disk, or its first copy is.' }),
    z.looseObject({ type: z.literal('event_ack'), ...stamped, throughSeq }).meta({ description: 'A cumulative ack.' }),
    z
      .looseObject({
        type: z.literal('event_error'),
        ...stamped,
        eventId: z.string().optional(),
        seq: seq.optional(),
        code: z.string(),
        field: z.string().optional(),
        message: z.string(),
        retryAfterMs: z.int().min(0).optional().meta({ description: 'Present when sending it again can help.' }),
      })
      .meta({ description: 'An event or a message was not taken.' }),
    z.looseObject({ type: z.literal('heartbeat_ack'), ...stamped }).meta({ description: 'Answers a heartbeat.' }),
    z
      .looseObject({
        type: z.literal('event_confirmed'),
        ...stamped,
        eventId: z.string(),
        seq: seq.optional(),
        level: z.enum(ACK_LEVELS),
      })
      .meta({
        description:
          'The event reached this level: stored, and then routed, once every sink beside the store is done with it, if its type goes to one.',
      }),
    z
      .looseObject({
        type: z.literal('overloaded'),
        ...stamped,
        message: z.string().optional(),
        retryAfterMs: reconnect,
      })
      .meta({ description: 'Too much is unacknowledged or unread; close code 1013 follows.' }),
    z
      .looseObject({
        type: z.literal('going_away'),
        ...stamped,
        message: z.string().optional(),
        retryAfterMs: reconnect,
      })
      .meta({
        description:
          'Nothing that arrives from here on is taken; once what came before is answered, close code 1001 follows.',
      }),
  ])
  .meta({
    description: 'A message from the server.',
    example: {
      type: 'event_ack',
      timestamp: EXAMPLE_TIME,
      eventId: EXAMPLE_ID,
      status: 'received',
      position: EXAMPLE_POSITION,
    },
  });

/** A message from the server, as it is written. */
export type ServerFrame = z.infer<typeof serverFrameSchema>;
