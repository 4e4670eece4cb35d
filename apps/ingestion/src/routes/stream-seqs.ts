/**
 * Which of a client's sequence numbers are settled: durable, a duplicate, or rejected. A number is open when it was not
 * sent, is still in flight, or was answered `retry`.
 */

/** Runs of settled numbers behind open ones that are kept: two numbers each, 2 KB for a client. */
export const SEQ_RUNS_MAX = 128;

/** Counts from the first number that it is told of: what lies below is nobody's business here. */
export class SettledSeqs {
  readonly firstSeq: number;
  /** Every number from the first one up to here is settled; before any is, the one below the first. */
  throughSeq: number;
  /** The highest settled number. */
  highestSeq: number;
  /** First and last of each run beyond `throughSeq`, in order, never touching. */
  #runs: number[] = [];

  constructor(firstSeq: number) {
    this.firstSeq = firstSeq;
    this.throughSeq = firstSeq - 1;
    this.highestSeq = firstSeq - 1;
  }

  /** Whether `throughSeq` has still to reach this number, and will say something new with it. */
  isOpen(seq: number): boolean {
    if (seq > this.highestSeq) return true;
    return seq > this.throughSeq && !this.#isInRun(seq);
  }

  /** Settles the numbers from `from` to `to`, both included. False: there are more runs than may be kept. */
  settle(from: number, to: number): boolean {
    if (to <= this.throughSeq) return true;
    this.highestSeq = Math.max(this.highestSeq, to);
    if (from > this.throughSeq + 1) this.#insert(from, to);
    else {
      this.throughSeq = to;
      this.#absorb();
    }
    return this.#runs.length <= 2 * SEQ_RUNS_MAX;
  }

  #isInRun(seq: number): boolean {
    for (let at = 0; at < this.#runs.length; at += 2)
      if (seq >= (this.#runs[at] as number) && seq <= (this.#runs[at + 1] as number)) return true;
    return false;
  }

  /** Takes what `throughSeq` has reached off the front. */
  #absorb(): void {
    const runs = this.#runs;
    let done = 0;
    while (done < runs.length && (runs[done] as number) <= this.throughSeq + 1) {
      this.throughSeq = Math.max(this.throughSeq, runs[done + 1] as number);
      done += 2;
    }
    if (done > 0) this.#runs = runs.slice(done);
  }

  /** Replaces every run that the new one overlaps or touches by one that holds them all. Most come at the end. */
  #insert(from: number, to: number): void {
    const runs = this.#runs;
    let end = runs.length;
    while (end > 0 && (runs[end - 2] as number) > to + 1) end -= 2;
    let start = end;
    while (start > 0 && (runs[start - 1] as number) >= from - 1) start -= 2;
    const first = start < end ? Math.min(from, runs[start] as number) : from;
    const last = start < end ? Math.max(to, runs[end - 1] as number) : to;
    runs.splice(start, end - start, first, last);
  }
}
