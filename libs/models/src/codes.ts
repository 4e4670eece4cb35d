/** Why an event or a message is refused: stable snake_case codes with what each one means. Docs and OpenAPI print this table. */

export const VERDICT_CODES = {
  invalid_type: 'The value has another JSON type than the one required.',
  missing_field: 'A required field is absent.',
  unknown_field: 'A top-level field that the event does not have.',
  unknown_event_type: 'eventType is neither built in nor registered by the operator.',
  too_short: 'A string is shorter than its minimum (lengths count Unicode code points).',
  too_long:
    'A string is longer than its maximum (lengths count Unicode code points), after sanitising where that applies.',
  invalid_characters: 'An id holds control characters (U+0000 to U+001F, U+007F to U+009F) or lone surrogates.',
  invalid_timestamp:
    'timestamp is no real ISO 8601 date and time with seconds and an offset (2026-01-31T23:59:59.123Z or +01:00).',
  timestamp_out_of_range: 'timestamp lies outside the years 1970 to 2199 in UTC.',
  timestamp_in_future: 'timestamp is further ahead of the server clock than the operator allows.',
  timestamp_too_old: 'timestamp is older than the operator allows.',
  number_out_of_range:
    'A number overflows a double, is an integer beyond ±(2^53−1) and below 10^21 (send it as a string), or lies outside the range of its field.',
  forbidden_key: 'A key is __proto__, constructor or prototype, as sent or once control characters are removed.',
  too_deep: 'data or metadata nests objects and arrays deeper than the operator allows.',
  too_many_keys: 'data or metadata has more keys, counted at every depth, than the operator allows.',
  event_too_large: 'The event takes more bytes than the operator allows.',
  invalid_data: 'data does not match the JSON Schema that the operator registered for this event type.',
  empty_batch: 'events holds no event.',
  too_many_events: 'There are more events in one message than allowed.',
  malformed_json: 'The text is no JSON (RFC 8259) in UTF-8.',
  forbidden_store: 'The token that the caller uses is bound to other stores than storeId.',
  unknown_message_type: 'The type of a WebSocket message is unknown.',
  unsupported: 'The request is understood, but this server does not do that.',
} as const satisfies Record<string, string>;

export type VerdictCode = keyof typeof VERDICT_CODES;

/** One reason to refuse. `field` is a path such as `data.items[3].price`, '' for the value itself. */
export interface Problem {
  readonly code: VerdictCode;
  readonly field: string;
  readonly message: string;
}
