/** What `weir import --help` says of mappings. */
export const IMPORT_HELP = `
Input
  FILE is .csv, .ndjson (.jsonl) or .json (an array, or {"events": […]}); - is standard input, with --format.
  NDJSON and JSON without a mapping are events already and are sent as they stand. CSV begins with a header row.
  A row that cannot be read or mapped is rejected with its number; the rest goes on.

Mapping (JSON)
  {
    "constants": { "storeId": "shop" },                      part of the event → fixed value
    "columns": {
      "user_id": "userId",                                   column → part of the event, as text
      "product_id": "data.productId",
      "price": { "to": "data.price", "as": "number" }        as: text, number, integer, boolean, json
    },                                                       empty: omit (default), null, text, reject
    "eventType": { "column": "event_type", "map": { "cart": "item_added" } },
    "timestamp": { "column": "event_time", "format": "YYYY-MM-DD HH:mm:ss UTC" },
    "eventId": { "uuidv5": ["order_no", "position"] }
  }
  Parts of an event: eventId, eventType, timestamp, userId, sessionId, storeId, data.…, metadata.…
  timestamp.format: iso (default), unix_s, unix_ms, or a pattern of YYYY MM DD HH mm ss SSS Z UTC and 'text';
    a pattern without a zone needs "zone": "UTC" or an offset such as "+02:00".
  eventId: {"uuidv5": "line"} (default) is the row and its number; a list names columns; "namespace" may be a UUID.
    A column mapped to eventId is used as it is.
  In JSON rows a column is a key, or a path of keys joined by dots.

Running it again is safe: the same row has the same id, and what is stored already counts as a duplicate.
Batches are in flight side by side; with --in-flight 1 rows are stored in the order of the file.
`;
