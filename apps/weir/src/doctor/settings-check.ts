/** The service's settings, as the service itself reads them. */
import { existsSync } from 'node:fs';
import { z } from 'zod';
import { reasonOf } from '../exit-code.ts';
import type { Finding } from './finding.ts';

/** What `check-config` of the service prints. */
const reportSchema = z.object({
  ok: z.boolean(),
  settings: z.record(z.string(), z.unknown()).default({}),
  problems: z.array(z.union([z.string(), z.object({ field: z.string().optional(), message: z.string() })])).default([]),
});

export interface SettingsReport {
  readonly findings: readonly Finding[];
  /** Undefined when the settings cannot be read. */
  readonly dataDir: string | undefined;
  readonly settings: Readonly<Record<string, unknown>>;
}

export interface SettingsOptions {
  /** The service's entry file. */
  readonly entry: string;
  readonly configPath: string | undefined;
  readonly environment: Readonly<Record<string, string>>;
}

const TIMEOUT_MS = 15_000;

/** Asks the service's program, in a process of its own. */
export async function checkSettings({ entry, configPath, environment }: SettingsOptions): Promise<SettingsReport> {
  if (!existsSync(entry)) return unreadable('the service is not installed beside this command');
  const config = configPath === undefined ? [] : ['--config', configPath];
  const child = Bun.spawn([process.execPath, entry, 'check-config', ...config], {
    env: { ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  const [text, errors] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  try {
    return describe(reportSchema.parse(JSON.parse(text)));
  } catch (error) {
    const said = errors.trim().split('\n').at(-1) ?? '';
    return unreadable(said === '' ? reasonOf(error) : said);
  }
}

function describe({ ok, settings, problems }: z.infer<typeof reportSchema>): SettingsReport {
  const findings = problems.map((problem): Finding => {
    const { field, message } = typeof problem === 'string' ? { field: undefined, message: problem } : problem;
    return failure(field === undefined ? message : `${field}: ${message}`);
  });
  if (!ok && findings.length === 0) findings.push(failure('the service refuses its settings without saying why'));
  if (findings.length === 0) findings.push({ area: 'settings', name: 'settings', state: 'ok', message: 'valid' });
  const dataDir = settings['dataFolder'] ?? settings['WEIR_DATA_DIR'];
  return { findings, settings, dataDir: typeof dataDir === 'string' ? dataDir : undefined };
}

function failure(message: string): Finding {
  return { area: 'settings', name: 'settings', state: 'failure', message, remedy: 'Correct it and run this again.' };
}

function unreadable(reason: string): SettingsReport {
  const message = `they cannot be checked: ${reason}`;
  const finding: Finding = { area: 'settings', name: 'settings', state: 'failure', message };
  return { findings: [finding], dataDir: undefined, settings: {} };
}
