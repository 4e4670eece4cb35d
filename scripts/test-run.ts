/** One test file in a `bun test` of its own, and what came of it. */

export interface TestRun {
  readonly verdict: 'ok  ' | 'skip' | 'FAIL';
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** The lines `skipped: …` by which suites say what is missing, and the command that would make them run. */
  readonly skipReasons: readonly string[];
  readonly output: string;
}

const TIMEOUT_MS = 120_000;

export async function runFile(root: string, file: string, env: Readonly<Record<string, string>>): Promise<TestRun> {
  const child = Bun.spawn([process.execPath, 'test', `--timeout=${TIMEOUT_MS}`, `./${file}`], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env, NO_COLOR: '1' },
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return summarise(out, err, code);
}

/** A file that ends without a count (a crash, a hang) is one failure. */
export function summarise(out: string, err: string, code: number): TestRun {
  const count = (what: string): number => Number(new RegExp(`^\\s*(\\d+) ${what}$`, 'm').exec(err)?.[1] ?? 0);
  // Bun counts the hooks of a skipped suite as tests without a name.
  const hooks = err.match(/^\(skip\) (.* > )?\(unnamed\)$/gm)?.length ?? 0;
  const [passed, failed, skipped] = [count('pass'), count('fail'), Math.max(0, count('skip') - hooks)];
  const ok = code === 0 && failed === 0;
  return {
    verdict: !ok ? 'FAIL' : skipped > 0 ? 'skip' : 'ok  ',
    passed,
    failed: ok ? 0 : Math.max(1, failed),
    skipped,
    skipReasons: err.match(/^skipped: .*$/gm) ?? [],
    output: `${out}${err}`,
  };
}
