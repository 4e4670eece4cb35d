/** The steps of an event's path through accept, in order; each does what those before it do, and one thing more. */
export const STEPS = [
  { name: 'reply', adds: 'Elysia, our dispatch, a reply with the request id; the body is not read' },
  { name: 'body', adds: 'the body in memory, bounded in bytes and time' },
  { name: 'parse', adds: 'strict UTF-8 and JSON' },
  { name: 'check', adds: "validation, the client's address, the row" },
  { name: 'journal', adds: 'id, deduplication, frame with checksum, one write for all that came together' },
  { name: 'sync', adds: 'fdatasync before the reply' },
] as const;

export type Step = (typeof STEPS)[number]['name'];
