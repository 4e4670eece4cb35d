/** What the bench is made of: parts, each measured on its own, so that one that fails takes no other with it. */
import type { Children } from './children.ts';
import type { Options } from './config.ts';
import type { Load } from './loads.ts';
import type { Pinning } from './pinning.ts';
import type { RunGenerator } from './run-generator.ts';
import type { Ratio } from './summary.ts';

export interface PartContext {
  readonly options: Options;
  readonly children: Children;
  readonly pinning: Pinning;
  readonly runGenerator: RunGenerator;
  /** The line that is being worked on, shown where somebody watches. */
  readonly progress: (text: string) => void;
}

export interface Measured<Data> {
  /** Goes into the JSON file, from which text and docs can be made again: JSON values only (NaN becomes null there). */
  readonly data: Data;
  /** What was not as it should be, a sentence each: printed with "!", and the exit code is 1. */
  readonly problems: readonly string[];
}

/** A self-contained picture: docs/benchmarks/<name>.svg. */
export interface Plot {
  readonly name: string;
  /** What it shows, for those who cannot see it. */
  readonly title: string;
  readonly svg: string;
}

export interface Section {
  /** Stands under the part's heading. */
  readonly markdown: string;
  readonly plots: readonly Plot[];
  /** For the table of everything that was compared with the bare server. */
  readonly ratios?: readonly Ratio[];
}

export interface Part<Data = unknown> {
  /** As in `--only`. */
  readonly name: string;
  /** What is measured, in a few words. */
  readonly what: string;
  /** `core`: always; `full`: with --full; `named`: only with --only. */
  readonly set: 'core' | 'full' | 'named';
  /** How long it takes with these options, about. */
  seconds(options: Options): number;
  measure(context: PartContext): Promise<Measured<Data>>;
  /** The loads that --profile runs. */
  loads?(options: Options): readonly Load[];
  /** For the terminal. */
  text(data: Data): string;
  /** For docs/benchmarks.md; without it, the text stands there as it is. */
  section?(data: Data): Section;
}
