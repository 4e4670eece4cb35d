/**
 * Loaded before the service's own code: changes a line of it on the way in. INTEGRITY_REWRITE is a JSON list of
 * `{file, find, replace}`; `find` must stand in the file exactly once, or the process does not start: a mutation that
 * is not there would prove nothing.
 *
 * What is put in may call `dieAt(point)`: the process kills itself there with SIGKILL, as often as INTEGRITY_DEATHS
 * (a folder, with the number of deaths in the file `left`) allows.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { plugin } from 'bun';

export interface Rewrite {
  /** The end of the path. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

declare global {
  /** Dies with the given probability, up to `withinMs` milliseconds later. */
  var dieAt: (point: string, probability: number, withinMs?: number) => void;
}

const folder = process.env['INTEGRITY_DEATHS'];
const rewrites = JSON.parse(process.env['INTEGRITY_REWRITE'] ?? '[]') as Rewrite[];

globalThis.dieAt = (point, probability, withinMs) => {
  if (folder === undefined || Math.random() >= probability) return;
  if (withinMs === undefined) die(point);
  else setTimeout(die, Math.random() * withinMs, point);
};

function die(point: string): void {
  const left = Number(readFileSync(join(folder as string, 'left'), 'utf8'));
  if (left === 0) return;
  // In one step: another process may read it.
  writeFileSync(join(folder as string, `left.${process.pid}`), String(left - 1));
  renameSync(join(folder as string, `left.${process.pid}`), join(folder as string, 'left'));
  const before = existsSync(join(folder as string, point)) ? readFileSync(join(folder as string, point), 'utf8') : '';
  writeFileSync(join(folder as string, point), `${before}x`);
  process.kill(process.pid, 'SIGKILL');
}

for (const [file, edits] of Map.groupBy(rewrites, (rewrite) => rewrite.file))
  plugin({
    name: `integrity: ${file}`,
    setup(build) {
      build.onLoad({ filter: new RegExp(`${RegExp.escape(file)}$`) }, ({ path }) => ({
        contents: edits.reduce((text, edit) => rewrite(path, text, edit), readFileSync(path, 'utf8')),
        loader: 'ts',
      }));
    },
  });

function rewrite(path: string, text: string, { find, replace }: Rewrite): string {
  if (text.split(find).length !== 2) throw new Error(`"${find}" does not stand in ${path} once`);
  return text.replace(find, () => replace);
}
