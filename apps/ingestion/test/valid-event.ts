/** The least that accept takes: for tests to which only its id matters. */
export function validEvent(eventId: string, more: object = {}): Record<string, unknown> {
  return {
    eventId,
    eventType: 'item_added',
    timestamp: '2026-01-02T03:04:05.678Z',
    sessionId: 'session-1',
    storeId: 'store-1',
    data: {},
    ...more,
  };
}
