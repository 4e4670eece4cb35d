/** bench/baseline.json: what the guard compares with. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Conditions } from './conditions.ts';
import type { GuardFigures } from './guard-compare.ts';

export const BASELINE_FILE = join(import.meta.dir, '../baseline.json');

export interface Baseline {
  readonly conditions: Pick<Conditions, 'startedAt' | 'processor' | 'cores' | 'kernel' | 'bun' | 'load1'>;
  readonly figures: GuardFigures;
}

const PROCESSES = ['accept', 'deliver'] as const;
const NUMBERS = ['median', 'spread', 'rounds'] as const;

/** Throws what a person can act on. */
export function readBaseline(file: string): Baseline {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Error(`${file} cannot be read (${code}): "npm run bench -- --guard --update" makes a baseline.`, {
      cause,
    });
  }
  let read: unknown;
  try {
    read = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${file} is no JSON: "npm run bench -- --guard --update" makes it anew.`, { cause });
  }
  const problem = problemOf(read);
  if (problem !== undefined) throw new Error(`${file}: ${problem} "npm run bench -- --guard --update" makes it anew.`);
  return read as Baseline;
}

export function writeBaseline(file: string, baseline: Baseline): void {
  writeFileSync(file, `${JSON.stringify(baseline, undefined, 2)}\n`);
}

/** The first thing that is wrong, with its path. */
function problemOf(read: unknown): string | undefined {
  const { conditions, figures } = (read ?? {}) as { conditions?: Record<string, unknown>; figures?: unknown };
  if (typeof conditions?.['startedAt'] !== 'string') return 'conditions.startedAt is missing.';
  if (typeof figures !== 'object' || figures === null || Object.keys(figures).length === 0)
    return 'figures must name at least one load.';
  for (const [load, byProcess] of Object.entries(figures as Record<string, Record<string, Record<string, unknown>>>))
    for (const process of PROCESSES)
      for (const name of NUMBERS) {
        const value = byProcess?.[process]?.[name];
        const isRight = typeof value === 'number' && (name === 'spread' ? value >= 0 : value > 0);
        if (!isRight) return `figures.${load}.${process}.${name} must be a number above zero.`;
      }
  return undefined;
}
