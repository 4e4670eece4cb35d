/** Reads what the service says about a batch. */
import { z } from 'zod';
import { readServiceError, retryAfterMs } from '../service.ts';

const replySchema = z.object({
  totalEvents: z.number(),
  results: z.array(
    z.object({
      index: z.number().int().nonnegative(),
      status: z.string(),
      code: z.string().nullish(),
      field: z.string().nullish(),
      message: z.string().nullish(),
      retryAfterMs: z.number().nullish(),
    }),
  ),
});

export interface ItemResult {
  readonly index: number;
  readonly status: 'duplicate' | 'rejected' | 'retry';
  readonly code: string;
  readonly field: string;
  readonly message: string;
  readonly retryAfterMs: number;
}

export type BatchReply =
  /** Every event that `results` does not name was accepted. */
  | { readonly kind: 'results'; readonly results: readonly ItemResult[] }
  /** Nothing is known of any event: the batch is sent again, no sooner than after `afterMs`. */
  | { readonly kind: 'later'; readonly afterMs: number; readonly code: string; readonly message: string }
  /** The request as a whole is refused because of what is in it: it is split to find out by what. */
  | { readonly kind: 'refused'; readonly code: string; readonly message: string }
  /** No request to this address can succeed. */
  | { readonly kind: 'hopeless'; readonly code: string; readonly message: string };

/** Statuses that say something about the body that was sent. */
const REFUSED = new Set([400, 413, 422]);

export function readBatchReply(status: number, retryAfter: string | null, body: string, sent: number): BatchReply {
  if ([200, 202, 207, 422, 503].includes(status)) {
    const results = readResults(body, sent);
    if (results !== undefined) return { kind: 'results', results };
  }
  const { code, message } = readServiceError(status, body);
  if (status === 429 || status === 408 || status >= 500) {
    return { kind: 'later', afterMs: retryAfterMs(retryAfter, Date.now()), code, message };
  }
  if (REFUSED.has(status)) return { kind: 'refused', code, message };
  if (status < 300) return { kind: 'hopeless', code: 'unknown_reply', message: `no Weir answered (HTTP ${status})` };
  return { kind: 'hopeless', code, message };
}

function readResults(body: string, sent: number): ItemResult[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const parsed = replySchema.safeParse(value);
  if (!parsed.success || parsed.data.totalEvents !== sent) return undefined;
  const results: ItemResult[] = [];
  for (const { index, status, ...rest } of parsed.data.results) {
    if (index >= sent || (status !== 'duplicate' && status !== 'rejected' && status !== 'retry')) return undefined;
    const { code, field, message } = rest;
    results.push({
      index,
      status,
      code: code ?? status,
      field: field ?? '',
      message: message ?? '',
      retryAfterMs: rest.retryAfterMs ?? 0,
    });
  }
  return results;
}
