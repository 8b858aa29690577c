/** What outlives every process of the simulated fleet: Kafka, Redis, the audit store. */
import { MemoryCluster } from '../../../src/adapters/memory-cluster.ts';
import { createMemoryAudit } from '../../../src/adapters/memory-audit.ts';
import { createMemoryMarks, type MemoryMarks } from '../../../src/adapters/memory-marks.ts';
import { createMemoryRedisTier, type MemoryRedisTier } from '../../../src/adapters/memory-tiers.ts';
import type { AuditStore, Clock, MarkName } from '../../../src/core/ports.ts';
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
  readonly tier: MemoryRedisTier;
  readonly audit: AuditStore;
  /** Takes a copy of all that Redis knows, as an AOF that is set aside. */
  backUp(): Promise<() => void>;
}

export function startServers(clock: Clock): Servers {
  const kafka = new MemoryCluster(CLUSTER);
  for (let partition = 0; partition < PARTITIONS; partition += 1) kafka.create(TOPIC, partition);
  const jobs = new JobServer({ clock, keep: 20 });
  const marks = createMemoryMarks((id) => jobs.has(id));
  const tier = createMemoryRedisTier({ clock });
  return {
    kafka,
    jobs,
    marks,
    tier,
    audit: createMemoryAudit(),
    async backUp() {
      const state = jobs.snapshot();
      const cells = [...tier.cells];
      const known = await Promise.all(streams.map((stream) => marks.read(stream)));
      return () => {
        jobs.restore(state);
        tier.cells.clear();
        for (const [key, cell] of cells) tier.cells.set(key, cell);
        streams.forEach((stream, index) => marks.rollBack(stream, known[index] ?? null));
      };
    },
  };
}
