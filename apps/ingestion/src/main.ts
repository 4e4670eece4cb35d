/**
 * The entry of the service. `main.ts [--config FILE]` is the supervisor; it starts this file again as `accept`
 * (pipeline-accept.ts) and as `deliver` (pipeline-deliver.ts). `check-config` prints the settings as JSON and ends.
 * Each role loads only what it needs.
 */
const ROLES = ['accept', 'deliver', 'check-config'] as const;
type Role = (typeof ROLES)[number];

const [first, ...rest] = process.argv.slice(2);
const role = ROLES.find((one) => one === first);
const args = role === undefined ? process.argv.slice(2) : rest;

const start: Record<Role | 'supervisor', () => Promise<void>> = {
  supervisor: async () => (await import('./supervisor-process.ts')).runSupervisor(import.meta.path, args),
  accept: async () => (await import('./accept-process.ts')).runAccept(args[0] ?? '', Number(args[1] ?? 0)),
  deliver: async () => (await import('./deliver-process.ts')).runDeliver(args[0] ?? ''),
  'check-config': async () => (await import('./check-config.ts')).printConfig(args),
};

// Not awaited at the top level: while a module waits there, Bun reports an uncaught error and carries on.
start[role ?? 'supervisor']().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  process.exit(1);
});
