/** `weir doctor`: every check, worst news last in the exit code. */
import { CommandError, EXIT_CODE, type ExitCode } from '../exit-code.ts';
import type { Service } from '../service.ts';
import { formatCount, printable, type Terminal } from '../terminal.ts';
import type { Finding, FindingState } from './finding.ts';
import { checkFolder } from './folder-check.ts';
import { checkJournals } from './journal-check.ts';
import { cutDamagedJournal, retireJournals } from './journal-cut.ts';
import { checkLimits, readProcFile } from './limits-check.ts';
import { checkService } from './service-check.ts';
import { checkSettings } from './settings-check.ts';

export interface DoctorCommandOptions {
  readonly configPath: string | undefined;
  /** Checks this folder instead of the one the settings name. */
  readonly dataDir: string | undefined;
  /** Cuts this journal at its damage instead of checking anything. */
  /** The folder was put back from a backup. */
  readonly restored: boolean;
  readonly cut: { readonly journal: string; readonly savePath: string } | undefined;
  readonly json: boolean;
}

export interface DoctorContext {
  readonly service: Service;
  readonly terminal: Terminal;
  /** The service's entry file. */
  readonly entry: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly bunPinned: string | undefined;
}

const MARKS: Readonly<Record<FindingState, string>> = { ok: 'ok', info: '--', warning: 'WARN', failure: 'FAIL' };
const NAME_CHARACTERS = 20;

export async function runDoctorCommand(options: DoctorCommandOptions, context: DoctorContext): Promise<ExitCode> {
  const { entry, environment, terminal } = context;
  const { findings: settings, ...report } = await checkSettings({ entry, environment, configPath: options.configPath });
  const dataDir = options.dataDir ?? report.dataDir;
  if (options.cut !== undefined) return cut(options.cut, folderOf(dataDir), options.json, terminal);
  if (options.restored) return retire(folderOf(dataDir), options.json, terminal);
  const findings = [
    ...settings,
    ...(dataDir === undefined ? [] : await checkFolder(dataDir)),
    ...(await checkLimits({ read: readProcFile, bunVersion: Bun.version, bunPinned: context.bunPinned })),
    ...(await checkService(context.service)),
    ...(dataDir === undefined ? [] : await checkJournals(dataDir)),
  ];
  const healthy = !findings.some(({ state }) => state === 'failure');
  if (options.json) {
    await terminal.out(`${JSON.stringify({ healthy, dataDir, settings: report.settings, findings })}\n`);
  } else await terminal.out(formatFindings(findings));
  return healthy ? EXIT_CODE.ok : EXIT_CODE.failed;
}

async function cut(
  { journal, savePath }: NonNullable<DoctorCommandOptions['cut']>,
  dataDir: string,
  json: boolean,
  terminal: Terminal,
): Promise<ExitCode> {
  const result = await cutDamagedJournal(dataDir, journal, savePath);
  const { savedEvents, setAside } = result;
  const text = [
    `Journal ${journal} is cut. The damaged files are in ${setAside}.`,
    `${formatCount(savedEvents)} events from behind the damage are in ${savePath}: start the service, then run`,
    `weir import ${savePath} --format ndjson`,
    '',
  ].join('\n');
  await terminal.out(json ? `${JSON.stringify(result)}\n` : text);
  return EXIT_CODE.ok;
}

async function retire(dataDir: string, json: boolean, terminal: Terminal): Promise<ExitCode> {
  const retired = await retireJournals(dataDir);
  const text = `${formatCount(retired.length)} journals are retired: the next start delivers them to their end and begins new ones.\n`;
  await terminal.out(json ? `${JSON.stringify({ retired })}\n` : text);
  return EXIT_CODE.ok;
}

function folderOf(dataDir: string | undefined): string {
  if (dataDir !== undefined) return dataDir;
  throw new CommandError(EXIT_CODE.usage, 'no_data_folder', 'The settings name no data folder: add --data-dir.');
}

export function formatFindings(findings: readonly Finding[]): string {
  const lines: string[] = [];
  let area: string | undefined;
  for (const { name, state, message, remedy, ...finding } of findings) {
    if (finding.area !== area) lines.push(`${lines.length === 0 ? '' : '\n'}${finding.area}`);
    area = finding.area;
    lines.push(`  ${MARKS[state].padEnd(4)}  ${name.padEnd(NAME_CHARACTERS)}  ${printable(message)}`);
    if (remedy !== undefined) lines.push(`${' '.repeat(NAME_CHARACTERS + 10)}→ ${remedy}`);
  }
  return `${lines.join('\n')}\n`;
}
