/** Instances of the read path on a Redis of the test, and barriers that stop them between two steps. */
import { onTestFinished } from 'vitest';
import { createKeyvLocalTier } from '../../src/adapters/keyv-local-tier.ts';
import { connectRedis, type RedisClient, waitForRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisLeases } from '../../src/adapters/redis-leases.ts';
import { createRedisTier } from '../../src/adapters/redis-tier.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { Clock, Coherence, FetchOutcome, LocalTier, RedisTier } from '../../src/core/ports.ts';
import type { ReadRule, Service } from '../../src/core/service.ts';
import { createCoherentLocalTier } from '../../src/read/coherent-local-tier.ts';
import { createLoneCoherence } from '../../src/read/fills.ts';
import { createGenerations, type Generations } from '../../src/read/generations.ts';
import { createReader, type Reader } from '../../src/read/reader.ts';
import type { ReadService as ReaderService } from '../../src/reader.ts';
import { aService } from './service.ts';

/** A step that waits to be let go. */
export interface Barrier {
  /** Resolves when somebody stands before it. */
  readonly reached: Promise<void>;
  open(): void;
  /** Stops the first who comes by; later ones pass. */
  pass(): Promise<void>;
}

export function createBarrier(): Barrier {
  const { promise: reached, resolve: arrive } = Promise.withResolvers<void>();
  const { promise: opened, resolve: open } = Promise.withResolvers<void>();
  let isFirst = true;
  return {
    reached,
    open,
    async pass() {
      if (!isFirst) return;
      isFirst = false;
      arrive();
      await opened;
    },
  };
}

/** A source whose answers are set by the test, and whose fetches are counted. */
export interface TestSource {
  readonly records: Map<string, string>;
  /** Ids asked for, in order. */
  readonly fetched: string[];
  /** Instead of answers. */
  failure: (FetchOutcome & { kind: 'failed' }) | undefined;
  /** Stands before an answer, which is what the source had when it was asked. */
  before: Barrier | undefined;
  readonly source: Service['source'];
}

export function createTestSource(): TestSource {
  const self: TestSource = {
    records: new Map(),
    fetched: [],
    failure: undefined,
    before: undefined,
    source: {
      async fetchMany(requests) {
        const outcomes = requests.map(({ id }): FetchOutcome => {
          self.fetched.push(id);
          const text = self.records.get(id);
          return self.failure ?? (text === undefined ? { kind: 'absent' } : { kind: 'record', text });
        });
        await self.before?.pass();
        return outcomes;
      },
      close: async () => undefined,
    },
  };
  return self;
}

export interface Instance {
  readonly reader: Reader;
  readonly localTier: LocalTier;
  readonly redisTier: RedisTier;
  readonly redis: RedisClient;
  readonly generations: Generations;
  /** `blind` while the test says so. */
  state: 'fresh' | 'blind';
}

export interface InstanceOptions {
  readonly clock?: Clock;
  /** Takes the place of what the Redis tier does. */
  readonly wrap?: (tier: RedisTier) => Partial<RedisTier>;
  readonly leaseMs?: number;
  readonly failureMs?: number;
}

let instances = 0;

/** Ends with the test. */
export async function startInstance(url: string, options: InstanceOptions = {}): Promise<Instance> {
  const { clock = systemClock(), wrap = () => ({}), ...times } = options;
  const redis = connectRedis({
    url,
    name: 'reader',
    connectTimeoutMs: 5_000,
    commandTimeoutMs: 20_000,
    onError: () => undefined,
  });
  await waitForRedis(redis, { what: 'Redis', timeoutMs: 20_000 });
  const generations = createGenerations();
  const localTier = createCoherentLocalTier(
    createKeyvLocalTier({ maxEntries: 100_000, maxBytes: 2 ** 28, clock }),
    generations,
  );
  const real = createRedisTier({ redis, log: undefined });
  const redisTier = { ...real, ...wrap(real) };
  const coherence: Coherence = { ...createLoneCoherence(localTier, generations), state: () => self.state };
  const reader = createReader({
    localTier,
    redisTier,
    leases: createRedisLeases({ redis }),
    coherence,
    clock,
    instance: `test-${process.pid}-${(instances += 1)}`,
    ...times,
  });
  const self: Instance = { reader, localTier, redisTier: real, redis, generations, state: 'fresh' };
  onTestFinished(() => {
    reader.close();
    redis.disconnect();
  });
  return self;
}

/** A fetched service with a counter on its records, under keys of its own. */
export function aReadService(
  prefix: string,
  { source }: Pick<TestSource, 'source'>,
  { read, ...more }: Partial<Omit<Service, 'read'>> & { readonly read?: Partial<ReadRule> } = {},
): Service {
  const base = aService();
  const rule = { ...base.read, ...read };
  const keepMs = Math.max(rule.staleWhileRevalidateMs, rule.failSafeMs);
  return {
    ...base,
    id: 'shopInfoService',
    inline: false,
    source,
    keyOf: (id) => `${prefix}:${id}`,
    localTtlMs: 60_000,
    ...more,
    read: { ...rule, keepMs },
  };
}

/** The system's clock, which can be put forward. */
export function clockWithLeaps(): Clock & { leap(ms: number): void } {
  const clock = systemClock();
  let aheadMs = 0;
  return { ...clock, now: () => clock.now() + aheadMs, leap: (ms) => void (aheadMs += ms) };
}

/** A service of `cachewright/reader` whose records come from `SOURCE_URL/ID`, under the keys `SERVICE:ID`. */
export function fetchedService(service: string, sourceUrl: string): ReaderService {
  return {
    key: `${service}:{id}`,
    source: { type: 'http', url: `${sourceUrl}/{id}` },
    version: { from: 'record', field: 'version', kind: 'counter' },
  };
}
