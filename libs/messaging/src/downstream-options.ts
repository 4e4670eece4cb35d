/** Which downstream services there are: the shape of the configuration, its bounds, and what is there by default. */
import { z } from 'zod';
import { EVENT_TYPE_NAME, keyError } from './routes.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

const DOWNSTREAMS_MAX = 32;
/**
 * Bun has at most 256 HTTP requests of a process under way and queues the rest (measured with Bun 1.4.5). Services that
 * hang must leave some to the other sinks.
 */
const CONCURRENCY_SUM_MAX = 192;

const NAME = /^[a-z][a-z0-9-]{0,31}$/;
/** RFC 9110, section 5.1: a token. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/;
/** Visible ASCII, with blanks and tabs in between only. */
const HEADER_VALUE = /^[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?$/;
/** Set by us, or a matter of the connection. */
const HEADERS_RESERVED = new Set([
  'accept-encoding',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'idempotency-key',
  'keep-alive',
  'te',
  'traceparent',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

const integer = (min: number, max: number) => z.int().min(min).max(max);

const urlSchema = z
  .url({ protocol: /^https?$/, error: 'must be an http or https URL' })
  .max(2_048)
  .refine((text) => !hasCredentials(text), {
    error: 'must not hold a user or a password: send them in headers, as Authorization',
  })
  .meta({ description: 'Where each event is posted to. Its query is never logged.' });

const headersSchema = z
  .record(
    z.string().regex(HEADER_NAME),
    z.string().max(8_192).regex(HEADER_VALUE, { error: 'must be visible ASCII, without blanks at its ends' }),
    { error: keyError('is no name of a header') },
  )
  .superRefine((headers, context) => {
    const names = Object.keys(headers);
    if (names.length > 20) context.addIssue({ code: 'custom', message: 'at most 20 headers' });
    const seen = new Set<string>();
    for (const name of names) {
      const lower = name.toLowerCase();
      if (HEADERS_RESERVED.has(lower))
        context.addIssue({ code: 'custom', path: [name], message: 'is set by Weir or belongs to the connection' });
      if (seen.has(lower)) context.addIssue({ code: 'custom', path: [name], message: 'is given twice' });
      seen.add(lower);
    }
  })
  .default({})
  .meta({ description: 'Headers of every request. Their values are never logged.' });

const breakerSchema = z
  .strictObject({
    failures: integer(1, 1_000)
      .default(5)
      .meta({ description: 'Failures in a row (errors of the network, timeouts, 5xx) that open it.' }),
    openMs: integer(10, HOUR_MS)
      .default(5_000)
      .meta({ description: 'How long it stays open the first time; doubled, with jitter, each time a trial fails.' }),
    openMsMax: integer(10, HOUR_MS).default(60_000).meta({ description: 'The longest it stays open.' }),
    halfOpenCalls: integer(1, 100)
      .default(1)
      .meta({ description: 'Trial requests that must all succeed before it closes.' }),
  })
  .refine(({ openMs, openMsMax }) => openMs <= openMsMax, {
    path: ['openMsMax'],
    error: 'must not be less than openMs',
  })
  .prefault({})
  .meta({ description: 'The circuit breaker.' });

const downstreamSchema = z
  .strictObject({
    url: urlSchema,
    eventTypes: z
      .array(z.string().regex(EVENT_TYPE_NAME, { error: 'is no name of an event type' }))
      .min(1)
      .max(500)
      .refine((types) => new Set(types).size === types.length, { error: 'names a type twice' })
      .meta({ description: 'The event types that it gets.' }),
    headers: headersSchema,
    timeoutMs: integer(10, 100_000).default(10_000).meta({ description: 'What one request may take, reply included.' }),
    concurrency: integer(1, 128).default(8).meta({ description: 'Requests under way at a time.' }),
    retries: integer(0, 10_000).default(20).meta({
      description:
        'How often an event that the service itself answers with an error (5xx but 502, 503 and 504) is sent again before it becomes a dead letter. Outages do not count.',
    }),
    ageMaxMs: integer(1_000, 365 * DAY_MS)
      .default(DAY_MS)
      .meta({ description: 'An event that fails and was received longer ago than this becomes a dead letter.' }),
    order: z
      .enum(['session', 'none'])
      .default('none')
      .meta({ description: '`session`: an event is sent when the one before it of the same session is done with.' }),
    replyBytesMax: integer(0, 16 * 1_048_576)
      .default(65_536)
      .meta({ description: 'A longer reply is cut off and its connection closed.' }),
    breaker: breakerSchema,
    from: z
      .enum(['now', 'oldest'])
      .default('now')
      .meta({ description: 'Where a downstream that is new in the configuration begins.' }),
    required: z
      .boolean()
      .default(true)
      .meta({ description: 'false: beyond backlogEventsMax events are parked instead of filling the journal.' }),
    backlogEventsMax: integer(1_000, 1_000_000_000)
      .optional()
      .meta({ description: 'The backlog of one that is not required.' }),
  })
  .superRefine(({ required, backlogEventsMax }, context) => {
    if (required === (backlogEventsMax === undefined)) return;
    const message = required ? 'has a meaning only with required: false' : 'must be given with required: false';
    context.addIssue({ code: 'custom', path: ['backlogEventsMax'], message });
  });

/** The `downstreams` of a configuration file: name → service. Parsing fills in every default. */
export const downstreamsSchema = z
  .record(z.string().regex(NAME), downstreamSchema, {
    error: keyError('a name is 1 to 32 of a-z, 0-9 and -, beginning with a letter'),
  })
  .superRefine((downstreams, context) => {
    const all = Object.values(downstreams);
    if (all.length > DOWNSTREAMS_MAX)
      context.addIssue({ code: 'custom', message: `at most ${DOWNSTREAMS_MAX} downstreams` });
    const concurrency = all.reduce((sum, one) => sum + one.concurrency, 0);
    if (concurrency > CONCURRENCY_SUM_MAX)
      context.addIssue({
        code: 'custom',
        message: `their concurrency is ${concurrency} in all; at most ${CONCURRENCY_SUM_MAX} is allowed`,
      });
  })
  .meta({ description: 'HTTP services that get events, each one by POST.' });

export type Downstreams = z.output<typeof downstreamsSchema>;
export type Downstream = Downstreams[string];

/** Where the built-in downstreams are; one without a URL does not exist. */
export interface DefaultDownstreamUrls {
  /** Of the prediction service: its base (`http://host:port`), or the whole URL. */
  readonly prediction?: string | undefined;
  readonly analytics?: string | undefined;
  readonly completion?: string | undefined;
}

const PREDICTION_PATH = '/api/predict/analyze';

/**
 * The built-in downstreams whose URL is set, not yet parsed: put those of the configuration file over them and give
 * all to `downstreamsSchema`.
 */
export function defaultDownstreams(urls: DefaultDownstreamUrls): z.input<typeof downstreamsSchema> {
  const { prediction, analytics, completion } = urls;
  return {
    ...(prediction === undefined
      ? {}
      : { prediction: { url: predictionUrl(prediction), eventTypes: ['cart_abandoned'] } }),
    ...(analytics === undefined ? {} : { analytics: { url: analytics, eventTypes: ['cart_updated'] } }),
    ...(completion === undefined ? {} : { completion: { url: completion, eventTypes: ['purchase_completed'] } }),
  };
}

/** What is wrong with event types that nobody sends: one sentence each, beginning with the place. */
export function unknownDownstreamTypes(downstreams: Downstreams, eventTypes: ReadonlySet<string>): string[] {
  return Object.entries(downstreams).flatMap(([name, downstream]) =>
    downstream.eventTypes
      .filter((type) => !eventTypes.has(type))
      .map((type) => `downstreams.${name}.eventTypes: ${type} is neither built in nor registered in eventTypes.`),
  );
}

function predictionUrl(text: string): string {
  const url = URL.parse(text);
  // What is no URL is left as it is, for the schema to refuse.
  if (url === null || url.pathname !== '/') return text;
  url.pathname = PREDICTION_PATH;
  return url.href;
}

function hasCredentials(text: string): boolean {
  const url = URL.parse(text);
  return url !== null && (url.username !== '' || url.password !== '');
}
