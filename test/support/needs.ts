import { beforeAll, describe } from 'vitest';
import { type DebianPackage, ensure, installCommand, missingOf } from './servers/debian.ts';
import { hasKafkaJars, type KafkaVersion } from './servers/kafka-jars.ts';

/** What a suite cannot do without. `kafka` is KRaft, `zookeeper` a Kafka of the last line that runs with ZooKeeper. */
export type Need =
  | 'kafka'
  | 'zookeeper'
  | 'redis'
  | 'postgres'
  | 'faketime'
  | 'chromium'
  | 'compose'
  | 'terminal';

/** Under CI or `--strict` a suite that cannot run is a failure, not a skip: nobody reads the skips of a green run. */
export function isStrict(): boolean {
  const { CI: ci = '', CACHEWRIGHT_STRICT: strict = '' } = process.env;
  return [ci, strict].some((value) => !['', '0', 'false'].includes(value));
}

/** The Debian packages that are missing for these needs. */
export function missingFor(needs: readonly Need[]): DebianPackage[] {
  return missingOf([...new Set(needs.flatMap((need) => PACKAGES[need]()))]);
}

/** Installs what these needs lack, where this machine lets us; returns what is to be typed for the rest, '' when nothing is. */
export function provide(needs: readonly Need[]): string {
  const missing = ensure(missingFor(needs));
  return missing.length === 0
    ? ''
    : `${missing.join(', ')} cannot be installed from here. As root: ${installCommand(missing)}`;
}

/**
 * A `describe` that runs only where its servers can be started. Elsewhere it is skipped and its name says what to
 * install; under CI or `--strict` it fails with that sentence instead.
 */
export function describeWith(needs: readonly Need[], name: string, suite: () => void): void {
  const missing = missingFor(needs);
  const reason = missing.length === 0 ? '' : ` (needs ${missing.join(', ')}: ${installCommand(missing)})`;
  describe.skipIf(missing.length > 0 && !isStrict())(`${name}${reason}`, () => {
    // The first hook to run: the suite's own would fail too, but less clearly.
    beforeAll(() => {
      if (missing.length > 0) throw new Error(`${name} cannot run${reason}`);
    });
    suite();
  });
}

const PACKAGES: Readonly<Record<Need, () => readonly DebianPackage[]>> = {
  kafka: () => javaFor('4.3.1'),
  zookeeper: () => javaFor('3.9.2'),
  redis: () => ['redis-server'],
  postgres: () => ['postgresql'],
  faketime: () => ['faketime'],
  chromium: () => ['chromium'],
  compose: () => ['docker-compose'],
  terminal: () => ['bsdutils'],
};

/** Maven only fetches the jars; once they are there Java is enough. */
function javaFor(version: KafkaVersion): readonly DebianPackage[] {
  return hasKafkaJars(version) ? ['default-jre-headless'] : ['default-jre-headless', 'maven'];
}
