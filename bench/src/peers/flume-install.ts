/** Gets Apache Flume from Maven Central, 44 MB of jars, into the user's cache folder: `sh scripts/with-bun.sh bench/src/peers/flume-install.ts`. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FLUME_VERSION, flumeFolder } from './flume.ts';

const DEPENDENCY_PLUGIN = 'org.apache.maven.plugins:maven-dependency-plugin:3.8.1';
const ARTIFACTS = [
  ['org.apache.flume', 'flume-ng-node'],
  ['org.apache.flume.flume-ng-channels', 'flume-file-channel'],
  ['org.apache.flume.flume-ng-sinks', 'flume-ng-kafka-sink'],
] as const;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

if (existsSync(flumeFolder())) print(`Flume ${FLUME_VERSION} is there.`);
else if (Bun.which('mvn') === null || Bun.which('java') === null) {
  print(
    'Flume needs Java and Maven: npm run services -- install gets them for Kafka, or, on Debian, apt-get install maven.',
  );
  process.exitCode = 1;
} else process.exitCode = await install();

async function install(): Promise<number> {
  const work = mkdtempSync(join(tmpdir(), 'weir-flume-'));
  try {
    writeFileSync(join(work, 'pom.xml'), pom());
    const jars = join(work, 'jars');
    const goal = [`${DEPENDENCY_PLUGIN}:copy-dependencies`, '-DincludeScope=runtime', `-DoutputDirectory=${jars}`];
    const command = ['mvn', '--batch-mode', '--quiet', '--strict-checksums', '-f', join(work, 'pom.xml'), ...goal];
    const child = Bun.spawn(command, { cwd: work, stdio: ['ignore', 'inherit', 'inherit'] });
    if ((await child.exited) !== 0) return 1;
    // It gets its name once it is whole.
    const whole = `${flumeFolder()}-${process.pid}`;
    mkdirSync(whole, { recursive: true });
    cpSync(jars, whole, { recursive: true });
    renameSync(whole, flumeFolder());
    print(`Downloaded Flume ${FLUME_VERSION} from Maven Central.`);
    return 0;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function pom(): string {
  const dependencies = ARTIFACTS.map(
    ([group, artifact]) =>
      `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${FLUME_VERSION}</version></dependency>`,
  );
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>weir</groupId><artifactId>flume-jars</artifactId><version>1</version>
<dependencies>${dependencies.join('\n')}</dependencies>
</project>
`;
}
