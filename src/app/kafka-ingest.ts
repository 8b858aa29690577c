import { createKafkaSource } from '../adapters/kafka-source.ts';
import type { KafkaConfig } from '../config/schema.ts';
import type { MarkStore } from '../core/ports.ts';
import { createHandOff } from '../ingest/hand-off.ts';
import { createStallWatch } from '../ingest/stall-watch.ts';
import { type Parts, wrap } from './parts.ts';
import { kafkaConnection } from './kafka-connection.ts';

/** How long a closing source waits for its last commits; without them the mark tells where to go on. */
const FLUSH_MS = 1_000;

/** The ingest role of a process: a consumer, the hand-off behind it, and the watch over both. */
export interface KafkaIngest {
  health(): { readonly healthy: boolean; readonly reason: string };
  close(): Promise<void>;
}

/** Joins the consumer group and begins to hand messages over. Waits for brokers that are not up; the signal ends that. */
export async function startKafkaIngest(
  parts: Parts,
  kafka: KafkaConfig,
  signal: AbortSignal,
): Promise<KafkaIngest> {
  const { clock, log, queue, machine, limits, events } = parts;
  const source = createKafkaSource({
    ...kafkaConnection(kafka, log),
    topics: kafka.topics.map(({ name }) => name),
    groupId: kafka.groupId,
    sessionTimeoutMs: kafka.sessionTimeoutMs,
    heartbeatMs: kafka.heartbeatMs,
    concurrency: kafka.partitionsConcurrently,
    clock,
  });
  const marks = parts.shards.marks();
  const handOff = createHandOff({
    source,
    queue,
    marks: wrap<MarkStore>(marks, parts.wraps.marks),
    machine,
    limits,
    backPressure: parts.backPressure,
    onMissingMark: kafka.onMissingMark,
    clock,
    log,
    events: (event) => {
      if (event.kind === 'enqueued') return;
      const { topic, partition, kind, ...detail } = event;
      events.emit('ingest', { stream: `${topic}-${partition}`, what: kind, detail: JSON.stringify(detail) });
    },
  });
  const watch = createStallWatch({
    source,
    onRestart: ({ topic, partition }, reason) =>
      events.emit('ingest', { stream: `${topic}-${partition}`, what: 'restarted', detail: reason }),
    clock,
    log,
  });
  const stopWatch = new AbortController();
  const closeAll = async (): Promise<void> => {
    stopWatch.abort();
    await Promise.race([handOff.flush(), clock.sleep(FLUSH_MS)]);
    await source.close();
    await handOff.close();
    marks.close();
  };
  // A start that still waits for its brokers ends when the process stops.
  const onStop = (): void => void closeAll();
  signal.addEventListener('abort', onStop, { once: true });
  try {
    await source.start(handOff.handle);
  } finally {
    signal.removeEventListener('abort', onStop);
  }
  void watch.run(stopWatch.signal).catch(() => undefined);
  return { health: () => source.isHealthy(), close: closeAll };
}
