/**
 * Deliver dies between cutting a block and committing its cursor, at chosen points instead of chosen times. And the proof
 * that the checks of this folder can fail: the same runs with one rule of the service's own code switched off.
 */
import { afterEach, expect, test } from 'bun:test';
import type { Rewrite } from './fault-source.preload.ts';
import { type KillRunOptions, runKills } from './kill-run.ts';
import { cleanUp } from './service.ts';

const SEED = Number(process.env['INTEGRITY_SEED'] ?? Date.now() % 1_000_000);
const TIMEOUT_MS = 180_000;

const WORKER = 'libs/delivery/src/worker.ts';
const SENDER = 'libs/delivery/src/block-sender.ts';
const COMMIT = 'libs/journal/src/commit.ts';
const RECOVERY = 'libs/journal/src/recovery.ts';

const CUT = { file: WORKER, find: '    cutSeq = lastSeq;\n    bytesPerRow' };
const SEND = { file: WORKER, find: '    const retries = await sender.send(work, before);\n' };
const FINISHED = { file: WORKER, find: '    cursor = lastSeq;\n    runner.noteFinished' };

afterEach(cleanUp);

/** After the cut and before the send, at some time during it, after it and before the commit, and after that. */
const DEATHS: readonly Rewrite[] = [
  { ...CUT, replace: `    dieAt('cut', 0.02); dieAt('sending', 0.05, 10);\n${CUT.find}` },
  { ...SEND, replace: `${SEND.find}    dieAt('sent', 0.03);\n` },
  { ...FINISHED, replace: `    dieAt('finished', 0.01);\n${FINISHED.find}` },
];

test(
  'deliver dies at every point between cutting a block and committing its cursor: every row is stored once',
  async () => {
    const report = await runKills({ seed: SEED, kills: 0, rewrites: DEATHS, deaths: 5 });
    expect({ seed: SEED, broken: report.broken }).toEqual({ seed: SEED, broken: [] });
    expect(report.resentBlocks).toBeGreaterThan(0);
  },
  TIMEOUT_MS,
);

interface Break extends Pick<KillRunOptions, 'victims' | 'kills' | 'deaths' | 'rewrites' | 'settings'> {
  readonly noticed: RegExp;
}

const BREAKS: Readonly<Record<string, Break>> = {
  'accept acknowledges before it writes': {
    kills: 3,
    victims: ['accept'],
    settings: { JOURNAL_SEGMENT_BYTES: String(64 << 20) },
    rewrites: [
      {
        file: COMMIT,
        find: '    disk.write(active.fd, bytes, active.offset);\n',
        replace:
          '    { const [fd, copy, at] = [active.fd, Uint8Array.from(bytes), active.offset]; setTimeout(() => disk.write(fd, copy, at), 250); }\n',
      },
    ],
    noticed: /promised and not stored/,
  },
  'accept forgets ids when it starts': {
    kills: 2,
    victims: ['accept'],
    rewrites: [
      {
        file: RECOVERY,
        find: '      addIds(gathered.index, frame.ids, ',
        replace: '      addIds(gathered.index, new Uint8Array(frame.ids.byteLength), ',
      },
    ],
    noticed: /stored more than once/,
  },
  'deliver sends a block again under another token': {
    kills: 0,
    deaths: 3,
    rewrites: [
      { ...SEND, replace: `${SEND.find}    dieAt('sent', 0.2);\n` },
      {
        file: SENDER,
        find: 'sink.write(block, { signal: ending.signal, ambiguous })',
        replace:
          'sink.write({ ...block, token: block.token + Math.random() }, { signal: ending.signal, ambiguous: false })',
      },
    ],
    noticed: /stored more than once/,
  },
  'deliver moves its cursor before the block is stored': {
    kills: 0,
    deaths: 3,
    rewrites: [
      { ...SEND, replace: '    const retries = 0;\n' },
      { ...FINISHED, replace: `    dieAt('finished', 0.2);\n    await sender.send(work, before);\n${FINISHED.find}` },
    ],
    noticed: /promised and not stored/,
  },
};

for (const [name, { noticed, ...options }] of Object.entries(BREAKS))
  test(
    `the checks notice when ${name}`,
    async () => {
      const report = await runKills({ seed: SEED, drainTimeoutMs: 5_000, ...options });
      expect(report.broken.join('\n')).toMatch(noticed);
    },
    TIMEOUT_MS,
  );
