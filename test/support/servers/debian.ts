import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The Debian packages our suites may need. */
export type DebianPackage =
  | 'redis-server'
  | 'postgresql'
  | 'faketime'
  | 'chromium'
  | 'docker-compose'
  | 'bsdutils'
  | 'default-jre-headless'
  | 'maven';

/** Which command proves that a package is there; Postgres keeps its server programs off the PATH. */
const PROOF: Readonly<Record<DebianPackage, () => boolean>> = {
  'redis-server': () => isOnPath('redis-server'),
  postgresql: () => postgresBin() !== undefined,
  faketime: () => isOnPath('faketime'),
  chromium: () => isOnPath('chromium'),
  'docker-compose': () => isOnPath('docker-compose'),
  bsdutils: () => isOnPath('script'),
  'default-jre-headless': () => isOnPath('java'),
  maven: () => isOnPath('mvn'),
};

export function missingOf(packages: readonly DebianPackage[]): DebianPackage[] {
  return packages.filter((name) => !PROOF[name]());
}

/** The command a person would type. */
export function installCommand(packages: readonly DebianPackage[]): string {
  return `apt-get install --no-install-recommends ${packages.join(' ')}`;
}

/**
 * Sees to it that these packages are installed and returns those that are still missing. Installs only as root on a
 * Debian with apt-get; never starts the system's own services, since tests bring private ones.
 */
export function ensure(packages: readonly DebianPackage[]): DebianPackage[] {
  const missing = missingOf(packages);
  if (missing.length === 0) return [];
  if (process.getuid?.() !== 0 || !isOnPath('apt-get')) return missing;
  withoutServices(() => {
    apt(['update', '-q']);
    for (const name of missing) {
      console.log(`installing ${name}`);
      const problem = apt(['install', '-q', '-y', '--no-install-recommends', name]);
      if (problem !== undefined) console.log(`  failed: ${problem}`);
    }
  });
  return missingOf(missing);
}

/** The directory with initdb and postgres: on the PATH, or the newest version where Debian puts them. */
export function postgresBin(): string | undefined {
  const onPath = pathDirs().find(
    (dir) => existsSync(join(dir, 'initdb')) && existsSync(join(dir, 'postgres')),
  );
  if (onPath !== undefined) return onPath;
  const root = '/usr/lib/postgresql';
  if (!existsSync(root)) return undefined;
  const versions = readdirSync(root).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(root, version, 'bin')).find((bin) => existsSync(join(bin, 'initdb')));
}

function pathDirs(): string[] {
  return (process.env['PATH'] ?? '').split(delimiter).filter(Boolean);
}

function isOnPath(command: string): boolean {
  return pathDirs().some((dir) => existsSync(join(dir, command)));
}

/** Runs apt-get quietly; returns the last lines of its output when it failed. */
function apt(args: readonly string[]): string | undefined {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status, stdout, stderr } = spawnSync('apt-get', args, {
    env,
    encoding: 'utf8',
    maxBuffer: 64 * 1_024 * 1_024,
  });
  return status === 0 ? undefined : `${stdout}${stderr}`.trimEnd().split('\n').slice(-5).join('\n  ');
}

/** Debian asks this script before a package starts its service; 101 means "forbidden by policy". */
const POLICY = '/usr/sbin/policy-rc.d';

function withoutServices(work: () => void): void {
  const saved = `${POLICY}.cachewright-saved`;
  const hadPolicy = existsSync(POLICY);
  if (hadPolicy) renameSync(POLICY, saved);
  const restore = (): void => {
    rmSync(POLICY, { force: true });
    if (hadPolicy) renameSync(saved, POLICY);
  };
  process.once('exit', restore);
  try {
    writeFileSync(POLICY, '#!/bin/sh\nexit 101\n');
    chmodSync(POLICY, 0o755);
    work();
  } finally {
    process.removeListener('exit', restore);
    restore();
  }
}
