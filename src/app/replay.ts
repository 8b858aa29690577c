import { randomUUID } from 'node:crypto';
import { createKafkaLogs } from '../adapters/kafka-logs.ts';
import { createKafkaSource } from '../adapters/kafka-source.ts';
import type { Config, KafkaConfig } from '../config/schema.ts';
import { reasonOf } from '../core/errors.ts';
import type { ChunkQueue, Clock, Log, MarkStore } from '../core/ports.ts';
import { type BackPressure, createBackPressure, queueGauges } from '../ingest/back-pressure.ts';
import { replay, type ReplayCall, type ReplayReport } from '../ingest/replay.ts';
import { planReplay, type ReplayRange } from '../ingest/replay-plan.ts';
import { kafkaConnection } from './kafka-connection.ts';

/** Where the messages of a topic that are asked for begin. */
export type ReplayStart =
  | { readonly kind: 'beginning' }
  | { readonly kind: 'since'; readonly timestampMs: number }
  | { readonly kind: 'offsets'; readonly offsets: ReadonlyMap<number, string> };

export interface Replays {
  /** Looks at the log and at the marks; nothing is read or enqueued. */
  plan(topic: string, start: ReplayStart, only?: readonly number[]): Promise<ReplayRange[]>;
  /** @param perSecond messages; 0: as fast as the queue has room */
  run(topic: string, perSecond: number, call: ReplayCall): Promise<ReplayReport>;
  close(): Promise<void>;
}

export interface ReplaysOptions {
  readonly config: Config;
  readonly kafka: KafkaConfig;
  readonly queue: ChunkQueue;
  readonly marks: Pick<MarkStore, 'read'>;
  readonly machine: string;
  readonly clock: Clock;
  readonly log: Log;
}

/** Live messages wait behind those of a replay: it goes on only while the queue is so far below its bounds. */
const SHARE_OF_QUEUE = 10;

/** Replays over the servers of a configuration. */
export function createReplays(options: ReplaysOptions): Replays {
  const { config, kafka, queue, marks, machine, clock, log } = options;
  const { groupId } = kafka;
  const logs = createKafkaLogs(kafkaConnection(kafka, log));
  const { maxChunkMessages, maxChunkBytes } = config.queue;

  return {
    async plan(topic, start, only) {
      const [clusterId, bounds] = await Promise.all([logs.clusterId(), logs.bounds(topic)]);
      const read = [...bounds.keys()].map(async (partition) => {
        const mark = await marks.read({ clusterId, groupId, topic, partition });
        return [partition, mark] as const;
      });
      const from = await firstOffsets(topic, start);
      return planReplay({ topic, logs: bounds, marks: new Map(await Promise.all(read)), from, only });
    },
    async run(topic, perSecond, call) {
      const name = randomUUID().replaceAll('-', '').slice(0, 12);
      const replayGroup = `${groupId}-replay-${name}`;
      const source = createKafkaSource({
        ...kafkaConnection(kafka, log),
        topics: [topic],
        groupId: replayGroup,
        sessionTimeoutMs: kafka.sessionTimeoutMs,
        heartbeatMs: kafka.heartbeatMs,
        concurrency: kafka.partitionsConcurrently,
        clock,
        log,
      });
      const limits = { maxChunkMessages, maxChunkBytes };
      const backPressure = pressureOf(options);
      try {
        return await replay(
          { source, queue, marks, groupId, backPressure, machine, limits, name, perSecond, clock, log },
          call,
        );
      } finally {
        await logs
          .forgetGroup(replayGroup)
          .catch((error: unknown) => log.debug({ reason: reasonOf(error) }, 'group of a replay not removed'));
      }
    },
    close: () => logs.close(),
  };

  async function firstOffsets(
    topic: string,
    start: ReplayStart,
  ): Promise<ReadonlyMap<number, string> | undefined> {
    if (start.kind === 'beginning') return undefined;
    return start.kind === 'offsets' ? start.offsets : logs.since(topic, start.timestampMs);
  }
}

function pressureOf({ config, queue, clock, log }: ReplaysOptions): BackPressure {
  const { highWaterJobs, highWaterBytes } = config.queue;
  const highJobs = Math.max(2, Math.floor(highWaterJobs / SHARE_OF_QUEUE));
  const highBytes = Math.max(1, Math.floor(highWaterBytes / SHARE_OF_QUEUE));
  const gauges = queueGauges(queue, {
    highJobs,
    lowJobs: Math.floor(highJobs / 2),
    highBytes,
    lowBytes: Math.floor(highBytes / 2),
  });
  return createBackPressure({ gauges, clock, log });
}
