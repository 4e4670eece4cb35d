import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The text of a file and of every file that it imports by a relative path, one after the other. */
export function ownCode(file: string, seen = new Set<string>()): string {
  if (seen.has(file)) return '';
  seen.add(file);
  const text = readFileSync(file, 'utf8');
  const imported = [...text.matchAll(/\bfrom\s+'(\.[^']+\.ts)'/g)].map(([, path = '']) => join(dirname(file), path));
  return [text, ...imported.map((path) => ownCode(path, seen))].join('\n');
}
