import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');
const PACKAGES = ['cachewright', 'bullmq', 'ioredis', 'kafkajs', 'keyv', 'xstate'] as const;

/** Everything a figure depends on besides the code: where, on what, of which commit. */
export interface Surroundings {
  readonly at: string;
  readonly commit: string;
  readonly machine: string;
  /** Mean number of busy tasks before the benchmark began; near 0 on a quiet machine. */
  readonly loadBefore: number;
  readonly versions: Readonly<Record<string, string>>;
}

export function lookAround(): Surroundings {
  const model = cpus()[0]?.model.trim() ?? 'unknown processor';
  const gigabytes = Math.round(totalmem() / 1_024 ** 3);
  return {
    at: new Date().toISOString(),
    commit: commitOf(),
    machine: `${cpus().length} × ${model}, ${gigabytes} GB, Linux ${release()}`,
    loadBefore: loadavg()[0] ?? 0,
    versions: {
      node: process.versions.node,
      redis: /v=([\d.]+)/.exec(output('redis-server', ['--version']))?.[1] ?? 'unknown',
      kafka: '4.3.1',
      ...Object.fromEntries(PACKAGES.map((name) => [name, versionOf(name)])),
    },
  };
}

function versionOf(name: string): string {
  const file = name === 'cachewright' ? 'package.json' : `node_modules/${name}/package.json`;
  const { version }: { version: string } = JSON.parse(readFileSync(join(ROOT, file), 'utf8'));
  return version;
}

function commitOf(): string {
  const commit = output('git', ['rev-parse', '--short=12', 'HEAD']).trim();
  const isChanged = output('git', ['status', '--porcelain', '--', 'src', 'machines', 'test/bench']) !== '';
  return commit === '' ? 'unknown' : `${commit}${isChanged ? ' with uncommitted changes' : ''}`;
}

function output(command: string, args: readonly string[]): string {
  try {
    return execFileSync(command, args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  } catch {
    return '';
  }
}
