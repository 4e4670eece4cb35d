/**
 * Where a reader of a topic stands, as text: `<journal>:<seq>`, and as many of them, separated by commas, as there are
 * journals (one for each accept process, and one for each restore from a backup). A journal that is not named has not
 * been read at all.
 */
import { formatPosition } from '@libs/pipeline';
import type { Positions } from '../operator-requests.ts';

const POSITION = /^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):(\d{1,16})$/;
const JOURNALS_MAX = 256;

/** `first` is the journal of the event that the text belongs to. Empty when nothing has been read. */
export function formatPositions(positions: Positions, first?: string): string {
  const others = Object.entries(positions).filter(([journal, seq]) => journal !== first && seq > 0);
  const own = first === undefined ? [] : [[first, positions[first] ?? 0] as const];
  return [...own, ...others].map(([journal, seq]) => formatPosition({ journal, seq })).join(',');
}

/** Undefined when the text is no such positions. */
export function parsePositions(text: string): Positions | undefined {
  const parts = text.split(',');
  if (parts.length > JOURNALS_MAX) return undefined;
  const positions: Record<string, number> = {};
  for (const part of parts) {
    const [, journal, digits] = POSITION.exec(part.trim()) ?? [];
    const seq = Number(digits);
    if (journal === undefined || !Number.isSafeInteger(seq) || journal in positions) return undefined;
    positions[journal] = seq;
  }
  return positions;
}
