/** Kafka's jars from Maven Central, kept in the user's cache folder. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from './config.ts';
import { propertiesText } from './kafka-properties.ts';

export const KAFKA_VERSION = '4.1.0';
const SCALA_VERSION = '2.13';
/** The broker's log, to stderr; of the line (1.7) that this Kafka is built against. Without it a broker fails in silence. */
const SLF4J_VERSION = '1.7.36';
const DEPENDENCY_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';
const JAVA_MIN = 17;
/** 16 bytes in base64url; every broker has it, so one that comes back empty looks like the one that it replaces. */
const CLUSTER_ID = Buffer.from('weir-test-broker').toString('base64url');

function jarsFolder(): string {
  return join(cacheFolder(), `kafka-${KAFKA_VERSION}`);
}

export function hasKafkaJars(): boolean {
  return existsSync(jarsFolder());
}

/** True when the `java` of the path can run Kafka. */
export function hasJava(): boolean {
  if (Bun.which('java') === null) return false;
  const { stderr } = Bun.spawnSync(['java', '-version']);
  const [, major = '0'] = /version "(\d+)/.exec(stderr.toString()) ?? [];
  return Number(major) >= JAVA_MIN;
}

/**
 * Downloads the jars with Maven, which fails on a wrong checksum (`--strict-checksums`). The folder gets its name once it is
 * whole; if somebody else was quicker, theirs is used.
 */
export async function downloadKafka(): Promise<void> {
  mkdirSync(cacheFolder(), { recursive: true });
  const work = mkdtempSync(join(cacheFolder(), 'kafka-download-'));
  try {
    writeFileSync(join(work, 'pom.xml'), pom());
    const jars = join(work, 'jars');
    await run(
      [
        ...['mvn', '--batch-mode', '--quiet', '--strict-checksums', '-f', join(work, 'pom.xml')],
        ...[`${DEPENDENCY_PLUGIN}:copy-dependencies`, '-DincludeScope=runtime', `-DoutputDirectory=${jars}`],
      ],
      work,
    );
    await format(jars, work, join(work, 'template'), []);
    mkdirSync(join(work, 'whole'));
    renameSync(jars, join(work, 'whole', 'jars'));
    renameSync(join(work, 'template'), join(work, 'whole', 'template'));
    if (!hasKafkaJars()) renameSync(join(work, 'whole'), jarsFolder());
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/**
 * Makes the data folder of a broker as `StorageTool format` does: a copy of one that was formatted at the download, since
 * the tool takes a second. SCRAM users are written by the tool only, so with them it runs.
 */
export async function formatData(folder: string, dataFolder: string, scramUsers: readonly string[]): Promise<void> {
  if (scramUsers.length > 0) return format(join(jarsFolder(), 'jars'), folder, dataFolder, scramUsers);
  cpSync(join(jarsFolder(), 'template'), dataFolder, { recursive: true });
}

export function kafkaCommand(heapMegabytes: number, propertiesFile: string): readonly string[] {
  const heap = [`-Xms${Math.min(128, heapMegabytes)}m`, `-Xmx${heapMegabytes}m`];
  const classPath = join(jarsFolder(), 'jars', '*');
  const log = '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn';
  return ['java', ...heap, '-XX:+UseSerialGC', log, '-cp', classPath, 'kafka.Kafka', propertiesFile];
}

async function format(jars: string, folder: string, dataFolder: string, scramUsers: readonly string[]): Promise<void> {
  const propertiesFile = join(folder, 'format.properties');
  writeFileSync(
    propertiesFile,
    propertiesText({
      'process.roles': 'broker,controller',
      'node.id': '1',
      'controller.quorum.voters': '1@127.0.0.1:1',
      'controller.listener.names': 'CONTROLLER',
      listeners: 'PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1',
      'log.dirs': dataFolder,
    }),
  );
  const users = scramUsers.flatMap((user) => ['--add-scram', user]);
  const tool = [
    'java',
    '-XX:TieredStopAtLevel=1',
    '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn',
    '-cp',
    join(jars, '*'),
    'kafka.tools.StorageTool',
    'format',
  ];
  await run([...tool, '-t', CLUSTER_ID, '-c', propertiesFile, ...users], folder);
  if (!existsSync(dataFolder) || readdirSync(dataFolder).length === 0) throw new Error(`Nothing in ${dataFolder}`);
}

async function run(command: readonly string[], cwd: string): Promise<void> {
  const child = Bun.spawn([...command], { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  if (code !== 0) throw new Error(`${command[0]} failed with exit code ${code}:\n${`${out}${err}`.slice(-2_000)}`);
}

function pom(): string {
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>weir</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_${SCALA_VERSION}</artifactId>
      <version>${KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>${SLF4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
`;
}
