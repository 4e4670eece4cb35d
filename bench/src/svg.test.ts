import { expect, test } from 'bun:test';
import { barChart, lineChart, ticksUpTo } from './svg.ts';

/** Numbers of an attribute, over all elements of a class. */
function attribute(svg: string, kind: string, name: string): number[] {
  const elements = svg.match(new RegExp(`<[a-z]+ class="${kind}"[^>]*>`, 'g')) ?? [];
  return elements.map((element) => Number(new RegExp(` ${name}="([^"]*)"`).exec(element)?.[1] ?? Number.NaN));
}

async function elementsOf(svg: string): Promise<string[]> {
  const names: string[] = [];
  const rewriter = new HTMLRewriter().on('*', { element: (element) => void names.push(element.tagName) });
  await rewriter.transform(new Response(svg)).text();
  return names;
}

const BARS = {
  title: 'CPU <of> "all"',
  axis: 'µs per event',
  series: ['weir', 'bare'],
  groups: [
    { label: 'single', bars: [{ value: 20, min: 18, max: 24 }, { value: 10 }] },
    { label: 'batch', bars: [{ value: 5 }, undefined] },
    { label: 'lost', bars: [{ value: Number.NaN }, { value: 1 }] },
  ],
};

test('bars are as long as their values, and what is not known is not drawn', () => {
  const svg = barChart(BARS);
  const [twenty = 0, five = 0, ...none] = attribute(svg, 's0', 'width').filter((width) => width > 10);
  expect(twenty / five).toBeCloseTo(4, 1);
  expect(none).toEqual([]);
  expect(attribute(svg, 's1', 'width').filter((width) => width > 10)).toHaveLength(2);
  const [from = 0] = attribute(svg, 'range', 'x1');
  const [to = 0] = attribute(svg, 'range', 'x2');
  expect((to - from) / twenty).toBeCloseTo(6 / 20, 1);
  expect(svg).not.toContain('NaN');
});

test('a chart names its axes with their units, escapes what it is given, and needs nothing from elsewhere', async () => {
  const svg = barChart(BARS);
  expect(svg).toContain('>µs per event</text>');
  expect(svg).toContain('<title>CPU &lt;of&gt; &quot;all&quot;</title>');
  expect(svg).toContain('prefers-color-scheme:dark');
  expect(svg).not.toMatch(/href|url\(|@import|<script|<image/);
  expect(new Set(await elementsOf(svg))).toEqual(new Set(['svg', 'title', 'style', 'rect', 'text', 'line']));
});

test('lines run through their points, time to the right and more upwards', () => {
  const svg = lineChart({
    title: 'Backlog',
    xAxis: 'seconds',
    yAxis: 'events',
    lines: [
      {
        name: 'pending',
        points: [
          [0, 0],
          [5, 100],
          [Number.NaN, 3],
          [10, 50],
        ],
      },
    ],
    marks: [{ x: 5, label: 'back' }],
  });
  const points = (/points="([^"]*)"/.exec(svg)?.[1] ?? '').split(' ').map((point) => point.split(',').map(Number));
  expect(points).toHaveLength(3);
  const [[x0, y0], [x1, y1], [x2, y2]] = points as [[number, number], [number, number], [number, number]];
  expect(x1 - x0).toBeCloseTo(x2 - x1, 0);
  expect((y0 - y1) / (y0 - y2)).toBeCloseTo(2, 1);
  expect(attribute(svg, 'mark', 'x1')).toEqual([x1]);
  expect(svg).toContain('>seconds</text>');
  expect(svg).toContain('>events</text>');
});

test.each([
  [0, [0, 1]],
  [Number.NaN, [0, 1]],
  [10, [0, 2, 4, 6, 8, 10]],
  [11, [0, 2.5, 5, 7.5, 10, 12.5]],
  [0.3, [0, 0.1, 0.2, 0.3]],
  [1_234_567, [0, 250_000, 500_000, 750_000, 1_000_000, 1_250_000]],
])('ticks up to %d are round and reach it', (max, ticks) => {
  expect(ticksUpTo(max)).toEqual(ticks);
});
