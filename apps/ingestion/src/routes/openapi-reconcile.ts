/** /reconcile in the API document. */
import {
  COUNT,
  DELIVER_ERRORS,
  INVALID,
  OPERATED,
  objectOf,
  queryParameter,
  reply,
  TEXT,
  TIME,
} from './openapi-operators.ts';

const BALANCE = objectOf({
  acknowledged: { ...COUNT, description: 'Less than all, for a sink that was added within the interval.' },
  stored: COUNT,
  deadLettered: COUNT,
  deleted: { ...COUNT, description: 'Dead letters that were deleted.' },
  pending: COUNT,
  duplicates: { ...COUNT, description: 'Copies beyond the first.' },
  difference: {
    type: 'integer',
    description: 'acknowledged − stored − deadLettered − deleted − pending: 0 when nothing is missing.',
  },
});
const BALANCES = { acknowledged: COUNT, sinks: { type: 'object', additionalProperties: BALANCE } };
const LIST_OF_TEXT = { type: 'array', items: TEXT };

const EXAMPLE_BALANCE = {
  acknowledged: 1000,
  sinks: {
    store: { acknowledged: 1000, stored: 989, deadLettered: 1, deleted: 1, pending: 9, duplicates: 0, difference: 0 },
  },
};

export const RECONCILE_DETAIL = {
  ...OPERATED,
  summary: 'Does it all add up',
  description:
    'For every event type and sink: acknowledged = stored + dead-lettered + deleted + pending, over whole minutes of the journal’s clock. ' +
    'balanced says whether it does, discrepancies where it does not, caveats which figure could not be had in full.',
  operationId: 'reconcile',
  parameters: [
    queryParameter(
      'from',
      'Beginning (ISO 8601 with an offset, or milliseconds); an hour before to when absent.',
      TEXT,
    ),
    queryParameter('to', 'End; now when absent.', TEXT),
    queryParameter(
      'deep',
      'true: read topics back instead of trusting what was acknowledged; copies are found only so. Up to a minute.',
      {
        type: 'boolean',
        default: false,
      },
    ),
  ],
  responses: {
    '200': reply(
      'The figures.',
      objectOf({
        from: TIME,
        to: TIME,
        balanced: { type: 'boolean' },
        discrepancies: {
          type: 'array',
          items: objectOf({ eventType: TEXT, sink: TEXT, difference: { type: 'integer' }, message: TEXT }),
        },
        total: objectOf(BALANCES),
        eventTypes: { type: 'array', items: objectOf({ eventType: TEXT, ...BALANCES }) },
        sources: { type: 'object', additionalProperties: TEXT, description: 'Where stored comes from, by sink.' },
        caveats: LIST_OF_TEXT,
      }),
      {
        from: '2026-03-14T09:00:00.000Z',
        to: '2026-03-14T10:00:00.000Z',
        balanced: true,
        discrepancies: [],
        total: EXAMPLE_BALANCE,
        eventTypes: [{ eventType: 'cart_updated', ...EXAMPLE_BALANCE }],
        sources: { store: 'counted in the table' },
        caveats: [],
      },
    ),
    '400': INVALID,
    ...DELIVER_ERRORS,
  },
};
