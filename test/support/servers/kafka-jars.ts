import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bound } from './bound.ts';
import { installCommand, missingOf } from './debian.ts';
import { tryLock } from './free-port.ts';
import { privateDir, waitFor } from './process.ts';

/** 4.3.1 is the current line (KRaft only); 3.9.2 is the last that can be run with ZooKeeper. */
export type KafkaVersion = '4.3.1' | '3.9.2';

const CACHE = join(import.meta.dirname, '../../../node_modules/.cache/cachewright');
const run = promisify(execFile);

/** Where the jars of a version are, or will be. Outside the repository's files, so a checkout stays small. */
function jarDir(version: KafkaVersion): string {
  return join(CACHE, `kafka-${version}`);
}

export function hasKafkaJars(version: KafkaVersion): boolean {
  return existsSync(join(jarDir(version), 'complete'));
}

/** The class path of one Kafka version. Fetches its jars (54 MB, some seconds) with Maven the first time. */
export async function ensureKafkaJars(version: KafkaVersion): Promise<string> {
  const dir = jarDir(version);
  mkdirSync(CACHE, { recursive: true });
  await waitFor(
    async () => {
      if (hasKafkaJars(version)) return true;
      const release = tryLock(`${dir}.lock`);
      if (release === undefined) return false;
      try {
        if (!hasKafkaJars(version)) await fetchJars(version, dir);
        return true;
      } catch (error) {
        throw new MavenError(version, error);
      } finally {
        release();
      }
    },
    {
      what: `the jars of Kafka ${version}`,
      timeoutMs: 300_000,
      everyMs: 200,
      giveUpOn: (error) => error instanceof MavenError,
    },
  );
  return `${dir}/*`;
}

class MavenError extends Error {
  override readonly name = 'MavenError';

  constructor(version: string, cause: unknown) {
    const missing = missingOf(['default-jre-headless', 'maven']);
    const hint = missing.length > 0 ? `needs ${installCommand(missing)}` : saidBy(cause);
    super(`cannot fetch the jars of Kafka ${version} with Maven: ${hint}`, { cause });
  }
}

/** Maven complains on stdout; of what it says the first line has the reason. */
function saidBy(cause: unknown): string {
  const said = cause instanceof Error && 'stdout' in cause ? String(cause.stdout) : '';
  return said.split('\n').find((line) => line.includes('ERROR')) ?? String(cause);
}

async function fetchJars(version: KafkaVersion, dir: string): Promise<void> {
  const work = privateDir('maven');
  const target = `${dir}.part`;
  rmSync(target, { recursive: true, force: true });
  writeFileSync(join(work, 'pom.xml'), pom(version));
  const copy = [
    '-q',
    '-B',
    'dependency:copy-dependencies',
    `-DoutputDirectory=${target}`,
    '-DincludeScope=runtime',
  ];
  await run(...bound('mvn', copy), {
    cwd: work,
    timeout: 240_000,
  });
  // Only a whole directory ever gets the final name: nobody sees half of the jars.
  writeFileSync(join(target, 'complete'), `${version}\n`);
  rmSync(dir, { recursive: true, force: true });
  renameSync(target, dir);
}

function pom(version: KafkaVersion): string {
  const dependency = (artifact: string): string =>
    `<dependency><groupId>org.apache.kafka</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`;
  return `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>cachewright.test</groupId>
  <artifactId>kafka-jars</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>${dependency('kafka_2.13')}${dependency('kafka-tools')}</dependencies>
</project>
`;
}
