/** The supervisor: checks the settings, takes the folder, starts accept and deliver, says where things are. */
import { anyoneMayWriteWarning } from '@libs/auth/open-warning';
import { createLineLogger } from '@libs/monitoring/line-logger';
import { Refusal, supervise } from '@libs/runtime';
import { ACCEPT_MEMORY } from './accept-memory.ts';
import type { ConfigReport } from './check-config.ts';
import type { Config } from './config.ts';
import { acceptName } from './paths.ts';
import { removeSettings, settingsFile, writeSettings } from './settings-file.ts';
import { welcomeText } from './welcome.ts';

/** The engine's calls occupy threads of the pool: queries must leave some to inserts and files. */
const DELIVER_THREADS = 8;
const RESTART_BACKOFF = { minMs: 100, maxMs: 10_000 };

/** Runs until it is told to end, then ends the process with the exit code. */
export async function runSupervisor(entry: string, args: readonly string[]): Promise<void> {
  const settings = checkSettings(entry, args);
  const argv = (...role: string[]) => {
    const [name = '', ...more] = role;
    return [process.execPath, ...process.execArgv, entry, name, settingsFile(settings.dataFolder), ...more];
  };
  const accepts = Array.from({ length: settings.WEIR_WORKERS }, (_, worker) => ({
    name: acceptName(worker),
    argv: argv('accept', String(worker)),
    env: ACCEPT_MEMORY,
    stopStage: 0,
  }));
  const deliver = {
    name: 'deliver',
    argv: argv('deliver'),
    env: { UV_THREADPOOL_SIZE: String(DELIVER_THREADS) },
    stopStage: 1,
  };
  const logger = createLineLogger({ level: settings.LOG_LEVEL, name: 'supervisor' });
  const warning = anyoneMayWriteWarning(settings.HOST, settings.JWT_SECRET !== undefined);
  if (warning !== undefined) logger.warn({ host: settings.HOST }, warning);
  let port = settings.PORT;
  // A folder that is another supervisor's keeps what that one wrote.
  let isWritten = false;
  process.exitCode = await supervise({
    dataDir: settings.dataFolder,
    processes: [...accepts, deliver],
    logger,
    print: (line) => process.stderr.write(`${line}\n`),
    shutdownTimeoutMs: settings.SHUTDOWN_TIMEOUT_MS,
    backoff: RESTART_BACKOFF,
    beforeStart: () => {
      port = probePort(settings);
      writeSettings({ ...settings, PORT: port });
      isWritten = true;
    },
    onReady: () => void process.stdout.write(welcomeText(settings, port)),
  });
  if (isWritten) removeSettings(settings.dataFolder);
  process.exit();
}

/** In a process of its own: the supervisor lives long and should not carry the schemas. */
function checkSettings(entry: string, args: readonly string[]): Config {
  const { stdout, stderr, exitCode } = Bun.spawnSync([process.execPath, entry, 'check-config', '--secrets', ...args]);
  if (exitCode !== 0) throw new Error(`The settings could not be checked: ${stderr.toString()}`);
  const report = JSON.parse(stdout.toString()) as ConfigReport;
  if (report.settings !== undefined) return report.settings;
  const [only, ...more] = report.problems;
  process.stderr.write(
    more.length === 0
      ? `This setting is wrong: ${only}\n`
      : `These settings are wrong:\n${report.problems.map((problem) => `  ${problem}\n`).join('')}`,
  );
  process.exit(78);
}

/** A port shared with reusePort would be taken in silence: so it is first bound alone. Port 0 becomes a free one, for good. */
function probePort({ HOST, PORT }: Pick<Config, 'HOST' | 'PORT'>): number {
  try {
    const probe = Bun.listen({ hostname: HOST, port: PORT, exclusive: true, socket: { data() {} } });
    const { port } = probe;
    probe.stop(true);
    return port;
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const reason =
      code === 'EADDRINUSE'
        ? `Port ${PORT} on ${HOST} is taken: stop what listens there, or choose another one with PORT.`
        : `Nothing can listen on ${HOST} port ${PORT} (${code ?? String(cause)}): check HOST and PORT.`;
    throw new Refusal(reason, { cause });
  }
}
