/** What outlives every process of the simulated fleet: Kafka, Redis, the audit store. */
import { MemoryCluster } from '../../../src/adapters/memory-cluster.ts';
import { createMemoryAudit } from '../../../src/adapters/memory-audit.ts';
import { createMemoryStream, type MemoryStream } from '../../../src/adapters/memory-invalidation-log.ts';
import { createMemoryLeases } from '../../../src/adapters/memory-leases.ts';
import { createMemoryMarks, type MemoryMarks } from '../../../src/adapters/memory-marks.ts';
import { createMemoryRedisTier, type MemoryRedisTier } from '../../../src/adapters/memory-tiers.ts';
import type { AuditStore, Clock, MarkName, ReadLeases } from '../../../src/core/ports.ts';
import { JobServer } from './job-server.ts';

export const TOPIC = 'changes';
export const GROUP = 'cachewright';
export const PARTITIONS = 2;
const CLUSTER = 'sim';

export const streams: readonly MarkName[] = Array.from({ length: PARTITIONS }, (_, partition) => ({
  clusterId: CLUSTER,
  groupId: GROUP,
  topic: TOPIC,
  partition,
}));

export interface Servers {
  readonly kafka: MemoryCluster;
  readonly jobs: JobServer;
  readonly marks: MemoryMarks;
  /** Values and fences. */
  readonly tier: MemoryRedisTier;
  /** The same as an instance writes it: its writes are announced in its name. */
  tierOf(instance: string): MemoryRedisTier;
  readonly log: SimLog;
  leases(): ReadLeases;
  readonly audit: AuditStore;
  /** Takes a copy of all that Redis knows, as an AOF that is set aside. */
  backUp(): Promise<() => void>;
}

/** The invalidation log, and what may happen to it. */
export interface SimLog {
  readonly stream: MemoryStream;
  /** The next entry is gone before anybody reads it. */
  trimNext(): void;
  /** Another process serves the same data, or a copy of it. */
  startAnew(): void;
}

/** Keys that the log keeps. */
export const LOG_KEYS = 200;

export function startServers(clock: Clock): Servers {
  const kafka = new MemoryCluster(CLUSTER);
  for (let partition = 0; partition < PARTITIONS; partition += 1) kafka.create(TOPIC, partition);
  const jobs = new JobServer({ clock, keep: 20 });
  const marks = createMemoryMarks((id) => jobs.has(id));
  const tier = createMemoryRedisTier({ clock });
  const log = startLog();
  let leases = createMemoryLeases({ clock });
  return {
    kafka,
    jobs,
    marks,
    tier,
    tierOf(instance) {
      const by = { writer: instance, maxKeys: LOG_KEYS };
      return createMemoryRedisTier({ clock, log: { stream: log.stream, by }, cells: tier.cells });
    },
    log,
    leases: () => leases,
    audit: createMemoryAudit(),
    async backUp() {
      const state = jobs.snapshot();
      const cells = [...tier.cells];
      const { stream } = log;
      const [entries, counter] = [[...stream.entries], stream.counter && { ...stream.counter }];
      const known = await Promise.all(streams.map((stream) => marks.read(stream)));
      return () => {
        jobs.restore(state);
        tier.cells.clear();
        for (const [key, cell] of cells) tier.cells.set(key, cell);
        stream.entries.splice(0, stream.entries.length, ...entries);
        stream.counter = counter;
        log.startAnew();
        leases = createMemoryLeases({ clock });
        streams.forEach((stream, index) => marks.rollBack(stream, known[index] ?? null));
      };
    },
  };
}

function startLog(): SimLog {
  const stream = createMemoryStream();
  const append = stream.append.bind(stream);
  let isTrimming = false;
  let servers = 1;
  stream.append = (writer, keys, fences) => {
    append(writer, keys, fences);
    if (isTrimming) stream.entries.length = 0;
    isTrimming = false;
  };
  return {
    stream,
    trimNext() {
      isTrimming = true;
    },
    startAnew() {
      servers += 1;
      stream.servers = `redis ${servers}`;
    },
  };
}
