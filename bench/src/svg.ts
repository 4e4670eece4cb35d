/**
 * Charts as SVG: bars side by side and lines over time, which is all that the docs need, so it is written here rather than taken
 * from a charting library. Self-contained, without scripts or fonts; colours follow the reader's light or dark scheme.
 */

export interface BarChart {
  readonly title: string;
  /** Of the value axis, with its unit. */
  readonly axis: string;
  /** What the bars of a group stand for, in their order. */
  readonly series: readonly string[];
  readonly groups: readonly BarGroup[];
}

export interface BarGroup {
  readonly label: string;
  /** One for each series; undefined where there is none. */
  readonly bars: readonly (Bar | undefined)[];
}

export interface Bar {
  readonly value: number;
  /** The range that is drawn over it. */
  readonly min?: number;
  readonly max?: number;
}

export interface LineChart {
  readonly title: string;
  readonly xAxis: string;
  readonly yAxis: string;
  readonly lines: readonly { readonly name: string; readonly points: readonly (readonly [number, number])[] }[];
  /** Moments with a name. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[];
}

const WIDTH = 760;
const BAR_HEIGHT = 14;
const GROUP_GAP = 14;
const LINES_HEIGHT = 260;
const TOP = 64;
const LEFT = 150;
const LINES_LEFT = 80;
const RIGHT = 90;
const BOTTOM = 46;
const TICKS = 5;
/** Distinguishable without colours being told apart: blue, orange, green, purple, in two lightnesses. */
const LIGHT = ['#0969da', '#bc4c00', '#1a7f37', '#8250df'];
const DARK = ['#58a6ff', '#f0883e', '#3fb950', '#bc8cff'];

export function barChart({ title, axis, series, groups }: BarChart): string {
  const groupHeight = series.length * BAR_HEIGHT + GROUP_GAP;
  const bottom = TOP + groups.length * groupHeight;
  const values = groups.flatMap(({ bars }) => bars.flatMap((bar) => (bar === undefined ? [] : [bar.max ?? bar.value])));
  const ticks = ticksUpTo(Math.max(0, ...values.filter(Number.isFinite)));
  const last = ticks.at(-1) as number;
  const x = (value: number) => LEFT + (value / last) * (WIDTH - LEFT - RIGHT);
  const grid = ticks.map(
    (tick) => line('grid', x(tick), TOP, x(tick), bottom) + text('tick', x(tick), bottom + 16, label(tick), 'middle'),
  );
  const drawn = groups.flatMap((group, index) => {
    const top = TOP + index * groupHeight + GROUP_GAP / 2;
    const middle = top + (series.length * BAR_HEIGHT) / 2 + 4;
    const bars = group.bars.map((bar, at) =>
      bar === undefined || !Number.isFinite(bar.value) ? '' : drawBar(bar, at, x, top + at * BAR_HEIGHT),
    );
    return [text('label', LEFT - 8, middle, group.label, 'end'), ...bars];
  });
  return document(title, bottom + BOTTOM, [
    ...grid,
    ...drawn,
    line('axis', LEFT, TOP, LEFT, bottom),
    text('name', (LEFT + WIDTH - RIGHT) / 2, bottom + 36, axis, 'middle'),
    legend(series),
  ]);
}

function drawBar({ value, min, max }: Bar, series: number, x: (value: number) => number, top: number): string {
  const height = BAR_HEIGHT - 2;
  const middle = top + height / 2;
  const bar = `<rect class="s${series % LIGHT.length}" x="${round(x(0))}" y="${round(top)}" width="${round(x(value) - x(0))}" height="${height}"/>`;
  const isRange = min !== undefined && max !== undefined && Number.isFinite(min) && Number.isFinite(max);
  const range = isRange ? line('range', x(min), middle, x(max), middle) : '';
  const end = Math.max(x(value), isRange ? x(max) : 0);
  return bar + range + text('value', end + 5, middle + 4, label(value), 'start');
}

export function lineChart({ title, xAxis, yAxis, lines, marks = [] }: LineChart): string {
  const points = lines.flatMap((one) => one.points).filter((point) => point.every(Number.isFinite));
  const xTicks = ticksUpTo(Math.max(0, ...points.map(([at]) => at)));
  const yTicks = ticksUpTo(Math.max(0, ...points.map(([, value]) => value)));
  const bottom = TOP + LINES_HEIGHT;
  const x = (value: number) => LINES_LEFT + (value / (xTicks.at(-1) as number)) * (WIDTH - LINES_LEFT - 20);
  const y = (value: number) => bottom - (value / (yTicks.at(-1) as number)) * LINES_HEIGHT;
  const right = x(xTicks.at(-1) as number);
  const paths = lines.map(({ points: own }, index) => {
    const drawn = own
      .filter((point) => point.every(Number.isFinite))
      .map(([at, value]) => `${round(x(at))},${round(y(value))}`);
    return `<polyline class="l${index % LIGHT.length}" points="${drawn.join(' ')}"/>`;
  });
  return document(title, bottom + BOTTOM, [
    ...yTicks.map(
      (tick) =>
        line('grid', LINES_LEFT, y(tick), right, y(tick)) +
        text('tick', LINES_LEFT - 6, y(tick) + 4, label(tick), 'end'),
    ),
    ...xTicks.map((tick) => text('tick', x(tick), bottom + 16, label(tick), 'middle')),
    ...marks.map(
      (mark) =>
        line('mark', x(mark.x), TOP, x(mark.x), bottom) + text('tick', x(mark.x) + 4, TOP + 12, mark.label, 'start'),
    ),
    line('axis', LINES_LEFT, bottom, right, bottom),
    ...paths,
    text('name', (LINES_LEFT + right) / 2, bottom + 36, xAxis, 'middle'),
    text('name', 10, TOP - 8, yAxis, 'start'),
    legend(lines.map(({ name }) => name)),
  ]);
}

/** 0 and at most six more, at round distances, the last one at `max` or beyond it. */
export function ticksUpTo(max: number): number[] {
  if (!(max > 0)) return [0, 1];
  const raw = max / TICKS;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= raw * (1 - 1e-9)) ?? 10);
  const count = Math.ceil(max / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/** A figure as an axis shows it: three digits, thousands apart. */
function label(value: number): string {
  return Number(value.toPrecision(3)).toLocaleString('en-US', { maximumFractionDigits: 6 });
}

function legend(names: readonly string[]): string {
  let at = 10;
  return names
    .map((name, index) => {
      const drawn = `<rect class="s${index % LIGHT.length}" x="${at}" y="32" width="10" height="10"/>${text('tick', at + 15, 41, name, 'start')}`;
      at += 30 + 7 * name.length;
      return drawn;
    })
    .join('');
}

function line(kind: string, x1: number, y1: number, x2: number, y2: number): string {
  return `<line class="${kind}" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}"/>`;
}

function text(kind: string, x: number, y: number, content: string, anchor: 'start' | 'middle' | 'end'): string {
  return `<text class="${kind}" x="${round(x)}" y="${round(y)}" text-anchor="${anchor}">${escaped(content)}</text>`;
}

function document(title: string, height: number, parts: readonly string[]): string {
  const colours = (palette: readonly string[]) =>
    palette.map((colour, index) => `.s${index}{fill:${colour}}.l${index}{stroke:${colour}}`).join('');
  const style = [
    'text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:14px}.tick,.value{font-size:11px}',
    '.back{fill:#fff}.grid{stroke:#d1d9e0}.axis{stroke:#59636e}.range{stroke:#1f2328;stroke-width:1.5}.mark{stroke:#59636e;stroke-dasharray:4 3}',
    `polyline{fill:none;stroke-width:2}${colours(LIGHT)}`,
    '@media(prefers-color-scheme:dark){text{fill:#e6edf3}.back{fill:#0d1117}.grid{stroke:#30363d}.axis,.mark{stroke:#9198a1}.range{stroke:#e6edf3}',
    `${colours(DARK)}}`,
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${round(height)}" width="${WIDTH}" height="${round(height)}" role="img">`,
    `<title>${escaped(title)}</title><style>${style.join('')}</style>`,
    `<rect class="back" width="100%" height="100%"/>${text('title', 10, 20, title, 'start')}`,
    ...parts.filter((part) => part !== ''),
    '</svg>\n',
  ].join('\n');
}

const round = (value: number): string => String(Number(value.toFixed(1)));

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escaped = (content: string): string => content.replace(/[&<>"]/g, (one) => ENTITIES[one] as string);
