/** Ids that wait for the next call, bounded: past the limit the oldest are dropped and counted. */

export interface Backlog {
  /** Takes over the array: the caller must not change it any more. */
  add(ids: readonly string[], nowMs: number): void;
  /** Removes and returns the oldest ids, `max` at most. What is older than the age limit is dropped on the way. */
  take(max: number, nowMs: number): readonly string[];
  /** Ids that were taken and not delivered come back as the oldest. */
  putBack(ids: readonly string[], nowMs: number): void;
  count(): number;
  /** Since the start. */
  dropped(): number;
}

interface Batch {
  readonly ids: readonly string[];
  readonly atMs: number;
}

/** Single ids are gathered into batches of this size, so that a long wait holds no array for each. */
const GATHER_MAX = 64;

export function createBacklog(limits: { readonly idsMax: number; readonly ageMaxMs: number }): Backlog {
  let batches: Batch[] = [];
  let gathering: string[] = [];
  /** Where in `batches` the oldest one is: they are removed in bulk. */
  let head = 0;
  let offset = 0;
  let total = 0;
  let lost = 0;

  function add(ids: readonly string[], nowMs: number): void {
    if (ids.length === 0) return;
    total += ids.length;
    const last = batches.at(-1);
    const joins = head < batches.length && last?.ids === gathering && gathering.length + ids.length <= GATHER_MAX;
    if (joins) gathering.push(...ids);
    else if (ids.length < GATHER_MAX) {
      gathering = [...ids];
      batches.push({ ids: gathering, atMs: nowMs });
    } else batches.push({ ids, atMs: nowMs });
    while (total > limits.idsMax) lost += remove(total - limits.idsMax).length;
  }

  function take(max: number, nowMs: number): readonly string[] {
    for (let oldest = batches[head]; oldest !== undefined; oldest = batches[head]) {
      if (nowMs - oldest.atMs <= limits.ageMaxMs) break;
      lost += remove(oldest.ids.length - offset).length;
    }
    let ids: readonly string[] = [];
    while (ids.length < max && total > 0) {
      const more = remove(max - ids.length);
      ids = ids.length === 0 ? more : ids.concat(more);
    }
    return ids;
  }

  /** Removes up to `max` ids of the oldest batch. */
  function remove(max: number): readonly string[] {
    const ids = (batches[head] as Batch).ids;
    const end = Math.min(ids.length, offset + max);
    const part = offset === 0 && end === ids.length ? ids : ids.slice(offset, end);
    offset = end;
    if (offset === ids.length) {
      head += 1;
      offset = 0;
      gathering = ids === gathering ? [] : gathering;
    }
    total -= part.length;
    if (head > 1_024 && head * 2 > batches.length) {
      batches = batches.slice(head);
      head = 0;
    }
    return part;
  }

  function putBack(ids: readonly string[], nowMs: number): void {
    const room = Math.max(0, limits.idsMax - total);
    const kept = ids.slice(Math.max(0, ids.length - room));
    lost += ids.length - kept.length;
    if (kept.length === 0) return;
    const rest = batches.slice(head);
    const first = rest[0];
    if (first !== undefined && offset > 0) rest[0] = { ids: first.ids.slice(offset), atMs: first.atMs };
    batches = [{ ids: kept, atMs: first?.atMs ?? nowMs }, ...rest];
    gathering = [];
    head = 0;
    offset = 0;
    total += kept.length;
  }

  return { add, take, putBack, count: () => total, dropped: () => lost };
}
