/** Gets what tests need: from Debian's packages when we are root, and Kafka's jars from Maven Central. */
import { type Availability, available, INSTALL_COMMAND, SERVICE_NAMES, type ServiceName } from './available.ts';
import { environmentWith } from './config.ts';
import { downloadKafka, hasJava, hasKafkaJars, KAFKA_VERSION } from './kafka-install.ts';

const JAVA_PACKAGES = ['openjdk-17-jre-headless', 'openjdk-21-jre-headless', 'openjdk-25-jre-headless'];

/**
 * Touches nothing that is there already. `print` gets one line for each thing that was done, and for what could not be. Resolves
 * with what is still missing; never throws.
 */
export async function installServices(
  print: (line: string) => void,
  names: readonly ServiceName[] = SERVICE_NAMES,
): Promise<readonly ServiceName[]> {
  const packages = missingPackages(names);
  if (packages.length > 0) await installPackages(packages, print);
  if (names.includes('kafka') && !hasKafkaJars()) await installKafka(print);
  return names.filter((name) => !isThere(available(name)));
}

const isThere = ({ ok }: Availability): boolean => ok;

function missingPackages(names: readonly ServiceName[]): string[] {
  const wanted = (name: ServiceName, command: string) => names.includes(name) && Bun.which(command) === null;
  return [
    ...(wanted('redis', 'redis-server') ? ['redis-server'] : []),
    ...(wanted('kcat', 'kcat') ? ['kcat'] : []),
    ...(wanted('openssl', 'openssl') ? ['openssl'] : []),
    ...(names.includes('kafka') && !hasJava() ? ['java'] : []),
    ...(wanted('kafka', 'mvn') && !hasKafkaJars() ? ['maven'] : []),
  ];
}

async function installPackages(packages: readonly string[], print: (line: string) => void): Promise<void> {
  const byHand = `apt-get install -y ${packages.map((one) => (one === 'java' ? JAVA_PACKAGES[0] : one)).join(' ')}`;
  if (Bun.which('apt-get') === null) {
    print(`Missing: ${packages.join(', ')}. Install them (on Debian: ${byHand}), then run ${INSTALL_COMMAND}.`);
    return;
  }
  if (process.getuid?.() !== 0) {
    print(`Missing: ${packages.join(', ')}. Run: sudo ${byHand} && ${INSTALL_COMMAND}`);
    return;
  }
  const update = await apt(['update']);
  if (update !== undefined) return print(`apt-get update failed: ${update}`);
  const java = JAVA_PACKAGES.find((name) => isOffered(name)) ?? 'default-jre-headless';
  const chosen = packages.map((one) => (one === 'java' ? java : one));
  const failure = await apt(['install', '-y', '--no-install-recommends', ...chosen]);
  print(failure === undefined ? `Installed ${chosen.join(', ')}` : `apt-get install failed: ${failure}`);
}

async function installKafka(print: (line: string) => void): Promise<void> {
  if (!hasJava() || Bun.which('mvn') === null) return print(`Kafka's jars need Java 17 or newer, and Maven`);
  try {
    await downloadKafka();
    print(`Downloaded Kafka ${KAFKA_VERSION} from Maven Central`);
  } catch (error) {
    print(`Kafka ${KAFKA_VERSION} could not be downloaded: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function isOffered(name: string): boolean {
  const { stdout } = Bun.spawnSync(['apt-cache', 'policy', name], { env: environmentWith({ LC_ALL: 'C' }) });
  return /Candidate: \d/.test(stdout.toString());
}

/** Undefined when it went well. No service is started by it: tests start their own, on ports of their own. */
async function apt(args: readonly string[]): Promise<string | undefined> {
  const child = Bun.spawn(['apt-get', '-q', '-o', 'DPkg::Lock::Timeout=300', ...args], {
    env: environmentWith({ DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1', SYSTEMD_OFFLINE: '1' }),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return code === 0 ? undefined : `${err.trim()}\n${out.slice(-1_000)}`.trim();
}
