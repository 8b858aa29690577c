/** One process of the simulated fleet, put together as `src/app` does: ingest, worker and reader over one local tier. */
import { machineName } from '../../../machines/snapshot.ts';
import { createKeyvLocalTier } from '../../../src/adapters/keyv-local-tier.ts';
import { createMemorySource } from '../../../src/adapters/memory-source.ts';
import { fail } from '../../../src/core/errors.ts';
import type {
  ChunkWorker,
  Coherence,
  InvalidationLog,
  LocalTier,
  MarkStore,
  ReadLeases,
  RedisTier,
} from '../../../src/core/ports.ts';
import { byOffset, originalForm, type Service } from '../../../src/core/service.ts';
import { createBackPressure, queueGauges } from '../../../src/ingest/back-pressure.ts';
import { createHandOff } from '../../../src/ingest/hand-off.ts';
import { createParse, type Parse } from '../../../src/pipeline/parse.ts';
import { createPipeline } from '../../../src/pipeline/pipeline.ts';
import { createCoherentLocalTier } from '../../../src/read/coherent-local-tier.ts';
import { createFollower, type Follower } from '../../../src/read/coherence.ts';
import { createGenerations, type Generations } from '../../../src/read/generations.ts';
import { createOwnWrites, type OwnWriteStates } from '../../../src/read/own-writes.ts';
import { createReader, type Reader } from '../../../src/read/reader.ts';
import { productionChart, silentLog } from '../../../src/testing/paths.ts';
import type { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { aService } from '../../support/service.ts';
import type { JobServer } from './job-server.ts';
import { createSimWorker } from './job-worker.ts';
import type { Network } from './network.ts';
import { clockOf, type SimProcess } from './process.ts';
import { remoteMarks, remoteQueue, remoteSource, remoteTier } from './remote-ports.ts';
import { remoteLeases, remoteLog } from './remote-read-ports.ts';
import { GROUP, type Servers, TOPIC } from './servers.ts';
import type { TruthSource } from './truth.ts';

export const LOCK_MS = 4_000;
/** Jobs above which ingest pauses; one batch of chunks may come on top. */
export const HIGH_JOBS = 40;
export const MOST_JOBS = HIGH_JOBS * 3;
const CONCURRENCY = 3;
export const BLIND_MS = 5_000;

const chart = productionChart();

/** What a planted bug may put between the product and its ports. */
export interface Plants {
  readonly tier?: (tier: RedisTier, servers: Servers) => RedisTier;
  readonly marks?: (marks: MarkStore) => MarkStore;
  readonly enqueue?: (enqueue: () => Promise<void>, clock: VirtualClock) => Promise<void>;
  readonly local?: (tier: LocalTier) => LocalTier;
  readonly log?: (log: InvalidationLog) => InvalidationLog;
  /** As the follower is told. */
  readonly ownWrites?: (own: OwnWriteStates, process: string) => OwnWriteStates;
  readonly generations?: (generations: Generations) => Generations;
  /** As the reader is told. */
  readonly coherence?: (coherence: Coherence) => Coherence;
  readonly leases?: (leases: ReadLeases) => ReadLeases;
  readonly jobs?: (jobs: JobServer) => void;
  readonly audit?: (servers: Servers) => void;
}

export interface InstanceOptions {
  readonly process: SimProcess;
  readonly network: Network;
  readonly servers: Servers;
  readonly truth: TruthSource;
  readonly clock: VirtualClock;
  readonly onKill: (process: SimProcess) => void;
  readonly mostTaken: () => number;
  /** A call that found the invalidation log out of reach. */
  readonly onLogLost: () => void;
  readonly caching: Caching;
  readonly plants: Plants;
}

export interface Instance {
  readonly process: SimProcess;
  readonly reader: Reader;
  readonly localTier: LocalTier;
  readonly follower: Follower;
  /** As its readers ask them. */
  readonly services: ReadonlyMap<string, Service>;
  /** Redis was away, or is another one: as the connection would tell. */
  redisReturned(reason: string): void;
  /** Leaves in peace: as a deploy does. */
  leave(): Promise<void>;
}

/** How the services of a run cache, milliseconds; drawn once per run. */
export interface Caching {
  readonly localTtlMs: number;
  readonly staleWhileRevalidateMs: number;
  readonly failSafeMs: number;
  readonly negativeTtlMs: number;
}

/** Services of the simulated world: records in the message, and records that are fetched. */
function servicesOf(source: Service['source'], caching: Caching): ReadonlyMap<string, Service> {
  const retry = {
    attempts: 4,
    backoff: { initialMs: 200, factor: 2, maxMs: 4_000, jitter: 0.2 },
    horizonMs: 600_000,
  };
  const { localTtlMs, ...ofReads } = caching;
  const read = { ...ofReads, keepMs: keepMsOf(caching), fromSource: false };
  return new Map([
    ['inline', aService({ id: 'inline', retry, localTtlMs, read })],
    ['ordered', aService({ id: 'ordered', retry, localTtlMs, read, version: byOffset })],
    ['fetched', aService({ id: 'fetched', inline: false, source, retry, localTtlMs, read })],
  ]);
}

function keepMsOf({ staleWhileRevalidateMs, failSafeMs }: Caching): number {
  return Math.max(staleWhileRevalidateMs, failSafeMs);
}

export async function bootInstance(options: InstanceOptions): Promise<Instance> {
  const { process, network, servers, plants } = options;
  const clock = clockOf(process, options.clock);
  const remote = { process, network };
  const { caching, truth } = options;
  const services = servicesOf(truth.sourceFor(process, network, 'source.fetch'), caching);
  const ownTier = createKeyvLocalTier({ maxEntries: 1_000, maxBytes: 1 << 20, clock });
  const ownGenerations = createGenerations();
  const generations = plants.generations?.(ownGenerations) ?? ownGenerations;
  const localTier = createCoherentLocalTier(plants.local?.(ownTier) ?? ownTier, generations);
  const ownWrites = createOwnWrites(process.name);
  const nearTier = servers.tierOf(process.name);
  const farTier = ownWrites.over(remoteTier(remote, plants.tier?.(nearTier, servers) ?? nearTier));
  const queue = remoteQueue(remote, servers.jobs, options.mostTaken);
  const marks = remoteMarks(remote, plants.marks?.(servers.marks) ?? servers.marks);
  const attempt = createPipeline({
    chart,
    parse: deadly(options, createParse({ services, mappingOf: () => originalForm, limits, clock })),
    localTier,
    redisTier: farTier,
    clock,
    log: silentLog,
    effectTimeoutMs: 15_000,
    onClosed: () => undefined,
  });
  const call = <T>(port: string, effect: () => T | Promise<T>): Promise<T> =>
    network.call(process, 'redis', port, effect, (reason) => fail('E_REDIS_UNAVAILABLE', { reason }));
  const worker: ChunkWorker = createSimWorker(
    {
      name: process.name,
      server: servers.jobs,
      call,
      enqueue: (chunks) => queue.enqueue(chunks),
      concurrency: CONCURRENCY,
      lockMs: LOCK_MS,
      stalledIntervalMs: 3_000,
      clock,
    },
    attempt,
  );
  const near = createMemorySource({
    cluster: servers.kafka,
    groupId: GROUP,
    topics: [TOPIC],
    maxBatch: 12,
    idleMs: 250,
    member: process.name,
    clock,
  });
  const source = remoteSource(remote, near);
  const handOff = createHandOff({
    source,
    queue: {
      enqueue: (chunks, sent) =>
        plants.enqueue?.(() => queue.enqueue(chunks), options.clock) ?? queue.enqueue(chunks, sent),
    },
    marks,
    machine: machineName(chart),
    limits: { maxChunkMessages: 4, maxChunkBytes: 1 << 20 },
    backPressure: createBackPressure({
      gauges: queueGauges(queue, {
        highJobs: HIGH_JOBS,
        lowJobs: HIGH_JOBS / 2,
        highBytes: 1 << 20,
        lowBytes: 1 << 19,
      }),
      clock,
      log: silentLog,
    }),
    onMissingMark: 'earliest',
    clock,
    log: silentLog,
    events: () => undefined,
  });
  const log = remoteLog(remote, servers, options.clock, options.onLogLost);
  const follower = createFollower({
    log: plants.log?.(log) ?? log,
    localTier,
    redisTier: farTier,
    generations,
    ruleOf: (key) => ({
      ...caching,
      keepMs: keepMsOf(caching),
      onChange: key.startsWith('fetched') ? 'drop' : 'refresh',
    }),
    ownWrites: plants.ownWrites?.(ownWrites, process.name) ?? ownWrites,
    blindMs: BLIND_MS,
    clock,
    logger: silentLog,
  });
  const leases = remoteLeases(remote, servers);
  const reader = createReader({
    localTier,
    redisTier: farTier,
    leases: plants.leases?.(leases) ?? leases,
    coherence: plants.coherence?.(follower) ?? follower,
    clock,
    instance: process.name,
  });
  await follower.start();
  await worker.start();
  await source.start(handOff.handle);
  return {
    process,
    localTier,
    follower,
    services: servicesOf(truth.sourceFor(process, network, 'read.fetch'), caching),
    reader,
    redisReturned: (reason) => marks.comeBack(reason),
    async leave() {
      await handOff.flush();
      await source.close();
      await handOff.close();
      await worker.close(2_000);
      reader.close();
      await follower.close();
    },
  };
}

const limits = { maxMessageBytes: 1 << 20, maxDepth: 64 };

/** Reading a message that says so ends the process, as an endless loop or a full heap in a user's function would. */
function deadly({ process, onKill }: InstanceOptions, parse: Parse): Parse {
  return (message) => {
    if (typeof message.value !== 'string' || !message.value.includes('"kills":true')) return parse(message);
    onKill(process);
    return new Promise(() => undefined);
  };
}
