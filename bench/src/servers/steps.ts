/**
 * The path of an event as far as the first argument says, made of Weir's own libraries: what each step adds to the one before is
 * what it costs here. The last one keeps its promise like Weir itself, beside which it lacks what the service is: deliver, tokens,
 * counters, one accept call for all requests of a turn, the index's prefetch, and accept's memory settings.
 */
import { clientAddressOf, createElysiaServer, jsonReply, readBody } from '@libs/elysia-server';
import { createDisk, type IdHash, type Journal, openJournal } from '@libs/journal';
import { createEventModel, DEFAULT_EVENT_LIMITS, parseJson } from '@libs/models';
import { createLogger } from '@libs/monitoring';
import { STEPS, type Step } from '../step-names.ts';
import { announce } from './announce.ts';

const [, , name = '', folder = ''] = process.argv;
const reached = STEPS.findIndex((step) => step.name === name);
const does = (step: Step): boolean => reached >= STEPS.findIndex((one) => one.name === step);

const BODY = { bytesMax: 10 * 1024 * 1024, timeoutMs: 30_000 };
const RELEASE_INTERVAL_MS = 200;
const REPLY = '{"status":"accepted","timestamp":"2026-01-02T03:04:05.678Z","durability":"journal","position":"0:1"}';
const model = createEventModel({ limits: DEFAULT_EVENT_LIMITS });
const hash: IdHash = new Uint32Array(4);
const journal = does('journal') ? open() : undefined;

function open(): Journal {
  const real = createDisk();
  const opened = openJournal({
    disk: does('sync') ? real : { ...real, sync: () => undefined },
    dataFolder: folder,
    worker: 0,
    workers: 1,
    limits: {
      segmentBytes: 64 * 1024 * 1024,
      bytesMax: 10 * 1024 ** 3,
      diskReserveBytes: 0,
      windowMs: 3_600_000,
      idsMax: 20_000_000,
    },
    log: (message) => process.stderr.write(`${message}\n`),
    onDurable: () => undefined,
    onFailed: (error) => {
      throw error;
    },
  });
  // Nobody reads it: segments are used again as soon as they are full.
  setInterval(() => opened.release(opened.id, opened.durableSeq()), RELEASE_INTERVAL_MS).unref();
  return opened;
}

/** The rows of those that are valid and new, appended in one frame; resolves once they are durable. */
async function take(records: readonly unknown[], request: Request): Promise<void> {
  const origin = { receivedAtMs: Date.now(), ipAddress: clientAddressOf(request) };
  const tail = `,"receivedAt":"${new Date(origin.receivedAtMs).toISOString()}","journal":"${journal?.id}","seq":`;
  let text = '';
  let count = 0;
  for (const record of records) {
    const checked = model.check(record, origin);
    if (!checked.ok) throw new Error(`${checked.code}: ${checked.message}`);
    if (journal === undefined) continue;
    journal.hash(checked.key, hash);
    if (journal.find(hash) !== 0) continue;
    text += `${checked.row}${tail}${journal.claim(hash)}}\n`;
    count += 1;
  }
  if (count > 0 && (await journal?.append(text, count)) === false) throw new Error('the journal failed');
}

async function handle(request: Request): Promise<Response> {
  if (!does('body')) return jsonReply(request, 202, REPLY);
  const bytes = await readBody(request, BODY);
  if (does('parse')) {
    const parsed = parseJson(bytes);
    if (!parsed.ok) throw new Error(parsed.message);
    const { events } = parsed.value as { readonly events?: readonly unknown[] };
    if (does('check')) await take(events ?? [parsed.value], request);
  }
  return jsonReply(request, 202, REPLY);
}

const server = createElysiaServer({
  name: 'steps',
  version: '0',
  description: 'A part of the path',
  hostname: '127.0.0.1',
  port: 0,
  reusePort: false,
  requestTimeoutMs: BODY.timeoutMs,
  corsOrigins: [],
  logger: createLogger({ name: 'steps', level: 'error' }),
  openapi: {},
});
for (const path of ['/events', '/events/batch'])
  server.app.post(path, ({ request }) => handle(request), { parse: 'none' });
announce((await server.listen()).port);
