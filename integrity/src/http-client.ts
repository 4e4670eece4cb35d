/** Posts events and writes every answer into the ledger; what no reply may be goes there, too. */
import type { SentEvent } from './events.ts';
import type { Answer, Ledger } from './ledger.ts';

/** Undefined: no answer came (nobody listens, or was killed before the reply was complete). */
export type MaybeAnswer = Answer | undefined;

export interface HttpClient {
  single(event: SentEvent, ack?: 'journal' | 'stored'): Promise<MaybeAnswer>;
  /** All or nothing (`failOnError`). Resolves to the status; undefined: no answer came. The ledger learns of refusals alone. */
  atomic(events: readonly SentEvent[]): Promise<number | undefined>;
  /** One answer per event, in order. */
  batch(events: readonly SentEvent[], form: 'json' | 'lines'): Promise<readonly MaybeAnswer[]>;
}

const REQUEST_TIMEOUT_MS = 60_000;

interface Reply {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly body: Record<string, unknown>;
}

/** `fresh`: every request on a connection of its own, so that processes which share the port take turns. */
export function createHttpClient(url: string, ledger: Ledger, options: { readonly fresh?: boolean } = {}): HttpClient {
  const keepalive = options.fresh !== true;

  async function post(path: string, body: string, type: string): Promise<Reply | undefined> {
    try {
      const response = await fetch(`${url}${path}`, {
        method: 'POST',
        body,
        keepalive,
        headers: { 'content-type': type },
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const parsed = (await response.json()) as Record<string, unknown>;
      return { status: response.status, retryAfter: response.headers.get('retry-after'), body: parsed };
    } catch (error) {
      if (error instanceof SyntaxError) ledger.broke(`POST ${path} got a reply that is no JSON`);
      return undefined;
    }
  }

  function retryAnswer({ body, retryAfter }: Reply): Answer {
    const { error, message, requestId } = body;
    if (Number(retryAfter) < 1 || ![error, message, requestId].every((one) => typeof one === 'string'))
      ledger.broke(`503 without Retry-After or an error body: ${JSON.stringify(body).slice(0, 500)}`);
    return { kind: 'retry', code: String(error), message: String(message) };
  }

  function singleAnswer(reply: Reply): MaybeAnswer {
    const { status, body } = reply;
    const { position, durability } = body;
    const at = {
      ...(typeof position === 'string' ? { position } : {}),
      ...(typeof durability === 'string' ? { level: durability } : {}),
    };
    if (status === 202) return { kind: 'accepted', ...at, ...localMark(body) };
    if (status === 200 && body['duplicate'] === true) return { kind: 'duplicate', ...at };
    if (status === 422) return { kind: 'rejected' };
    if (status === 503) return retryAnswer(reply);
    ledger.broke(`POST /events answered ${status}: ${JSON.stringify(body).slice(0, 500)}`);
    return undefined;
  }

  function batchAnswers(reply: Reply, count: number): MaybeAnswer[] {
    const { status, body } = reply;
    const results = body['results'];
    if (status === 503) {
      const answer = retryAnswer(reply);
      if (!Array.isArray(results)) return new Array(count).fill(answer);
    }
    if (![200, 202, 207, 422, 503].includes(status) || !Array.isArray(results)) {
      ledger.broke(`POST /events/batch answered ${status}: ${JSON.stringify(body).slice(0, 500)}`);
      return [];
    }
    if (body['totalEvents'] !== count)
      ledger.broke(`a batch of ${count} was answered as one of ${body['totalEvents']}`);
    const answers: Answer[] = new Array(count).fill({ kind: 'accepted', ...localMark(body) });
    for (const { index, status: verdict, code, message } of results) answers[index] = { kind: verdict, code, message };
    return answers;
  }

  return {
    async single(event, ack = 'journal') {
      ledger.sent(event);
      const reply = await post(ack === 'stored' ? '/events?ack=stored' : '/events', event.text, 'application/json');
      const answer = reply === undefined ? undefined : singleAnswer(reply);
      if (answer !== undefined) ledger.answered(event, answer);
      return answer;
    },
    async atomic(events) {
      for (const event of events) ledger.sent(event);
      const list = events.map(({ text }) => text).join(',');
      const body = `{"events":[${list}],"options":{"failOnError":true}}`;
      const reply = await post('/events/batch', body, 'application/json');
      if (reply?.status === 503) {
        const answer = retryAnswer(reply);
        for (const event of events) ledger.answered(event, answer);
      }
      return reply?.status;
    },
    async batch(events, form) {
      for (const event of events) ledger.sent(event);
      const texts = events.map(({ text }) => text);
      const reply =
        form === 'lines'
          ? await post('/events/batch', `${texts.join('\n')}\n`, 'application/x-ndjson')
          : await post('/events/batch', `{"events":[${texts.join(',')}]}`, 'application/json');
      const answers = reply === undefined ? [] : batchAnswers(reply, events.length);
      return events.map((event, at) => {
        const answer = answers[at];
        if (answer !== undefined) ledger.answered(event, answer);
        return answer;
      });
    },
  };
}

/** A batch says it once for all of its events. */
function localMark(body: Readonly<Record<string, unknown>>): { readonly isLocal?: true } {
  return body['deduplication'] === 'local' ? { isLocal: true } : {};
}
