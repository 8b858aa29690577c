/** Rules between options. They see a configuration whose single values are fine. */
import { mayShareKeys } from '../core/key.ts';
import type { ErrorCode } from '../core/errors.ts';
import { didYouMean } from './did-you-mean.ts';
import { formatDuration } from './durations.ts';
import type { Config, KafkaConfig, ServiceConfig } from './schema.ts';
import type { Path } from './shape.ts';
import { isLoopback } from './urls.ts';

/** A rule that does not hold. */
export interface Broken {
  /** Where a person would mend it. */
  readonly at: Path;
  /** Everything the rule has looked at: where one of these has a problem of its own, this one is not told. */
  readonly reads: readonly Path[];
  readonly message: string;
  readonly code?: ErrorCode;
}

/** BullMQ finds a killed worker's job after up to lock plus interval; a pick-up within 10 s needs this sum. */
const MAX_LOCK_AND_INTERVAL_MS = 8_000;

export function brokenRules(config: Config): Broken[] {
  const services = Object.entries(config.services);
  return [
    ...(config.kafka === undefined ? [] : kafkaRules(config.kafka, Object.keys(config.services))),
    ...queueRules(config),
    ...httpRules(config),
    ...services.flatMap(([id, service]) => serviceRules(id, service, config)),
    ...keyRules(services),
  ];
}

function kafkaRules(kafka: KafkaConfig, services: readonly string[]): Broken[] {
  const broken: Broken[] = [];
  if (kafka.brokers.length === 0 && kafka.zookeeper === undefined) {
    broken.push(
      rule(['kafka', 'brokers'], [['kafka', 'zookeeper']], 'needed, unless kafka.zookeeper is set'),
    );
  }
  if (kafka.heartbeatMs * 3 > kafka.sessionTimeoutMs) {
    const most = formatDuration(Math.floor(kafka.sessionTimeoutMs / 3));
    const message = `allowed is at most a third of kafka.sessionTimeoutMs, which is ${most}`;
    broken.push(rule(['kafka', 'heartbeatMs'], [['kafka', 'sessionTimeoutMs']], message));
  }
  const { deadLetters } = kafka;
  if (deadLetters !== undefined) {
    const names = kafka.topics.map(({ name }) => name);
    const looped = names.find((name) => names.includes(deadLetters.topic.replaceAll('{topic}', name)));
    if (looped !== undefined) {
      const message = 'a topic that is read cannot take the dead letters: each would be read and die again';
      broken.push(rule(['kafka', 'deadLetters', 'topic'], [['kafka', 'topics']], message));
    }
  }
  kafka.topics.forEach((topic, index) => {
    const at = ['kafka', 'topics', index];
    if (kafka.topics.findIndex(({ name }) => name === topic.name) !== index) {
      broken.push(rule(at, [], `the topic ${topic.name} is listed twice`));
    }
    if (topic.service !== undefined && !services.includes(topic.service)) {
      const message = `there is no such service.${didYouMean(topic.service, services)}`;
      broken.push(rule([...at, 'service'], [['services']], message));
    }
    if (topic.nullValue === 'delete' && topic.service === undefined && topic.decode === undefined) {
      const message = '"delete" needs the topic\'s service: a message without a value cannot name it';
      broken.push(rule([...at, 'nullValue'], [[...at, 'service']], message));
    }
  });
  return broken;
}

function queueRules({ queue }: Config): Broken[] {
  const broken: Broken[] = [];
  if (queue.lockMs + queue.stalledIntervalMs > MAX_LOCK_AND_INTERVAL_MS) {
    const message = `with queue.stalledIntervalMs (${formatDuration(queue.stalledIntervalMs)}) at most 8 s are allowed, so that the work of a killed process is taken up within 10 s`;
    broken.push(rule(['queue', 'lockMs'], [['queue', 'stalledIntervalMs']], message));
  }
  if (queue.lowWaterJobs >= queue.highWaterJobs) {
    broken.push(
      rule(
        ['queue', 'lowWaterJobs'],
        [['queue', 'highWaterJobs']],
        'allowed is less than queue.highWaterJobs',
      ),
    );
  }
  if (queue.lowWaterBytes >= queue.highWaterBytes) {
    broken.push(
      rule(
        ['queue', 'lowWaterBytes'],
        [['queue', 'highWaterBytes']],
        'allowed is less than queue.highWaterBytes',
      ),
    );
  }
  return broken;
}

function httpRules({ http }: Config): Broken[] {
  if (isLoopback(http.host) || http.tokens.length > 0) return [];
  const message = 'any host but the loopback needs http.tokens';
  return [{ ...rule(['http', 'host'], [['http', 'tokens']], message), code: 'E_HOST_UNPROTECTED' }];
}

function serviceRules(id: string, service: ServiceConfig, { worker }: Config): Broken[] {
  const at = ['services', id];
  const { source, version, retry } = service;
  const broken: Broken[] = [];
  const add = (path: Path, reads: readonly Path[], message: string): void => {
    broken.push(
      rule(
        [...at, ...path],
        reads.map((read) => [...at, ...read]),
        message,
      ),
    );
  };
  if (version.from !== 'offset' && version.kind !== 'time') {
    const kind: Path = ['version', 'kind'];
    if (version.missing === 'timestamp') add(['version', 'missing'], [kind], '"timestamp" needs kind "time"');
    if (version.timezone !== undefined) add(['version', 'timezone'], [kind], 'a time zone needs kind "time"');
  }
  if (source.type === 'function' && source.fetch === undefined && source.fetchMany === undefined) {
    add(
      ['source', 'fetch'],
      [['source']],
      'a source of type "function" needs fetch or fetchMany, which only a configuration in TypeScript or JavaScript can hold: see defineSource',
    );
  }
  if (source.type !== 'inline' && source.timeoutMs > worker.effectTimeoutMs) {
    const most = formatDuration(worker.effectTimeoutMs);
    broken.push(
      rule(
        [...at, 'source', 'timeoutMs'],
        [['worker', 'effectTimeoutMs']],
        `allowed is at most worker.effectTimeoutMs, which is ${most}`,
      ),
    );
  }
  if (retry.initialMs > retry.maxMs) {
    add(['retry', 'initialMs'], [['retry', 'maxMs']], 'allowed is at most retry.maxMs');
  }
  if (service.fenceTtlMs > 0 && service.fenceTtlMs < retry.horizonMs) {
    add(
      ['fenceTtlMs'],
      [['retry', 'horizonMs'], ['ttlMs']],
      `allowed is at least retry.horizonMs, which is ${formatDuration(retry.horizonMs)}: else a waiting run outlives what guards its key`,
    );
  }
  return broken;
}

function keyRules(services: readonly (readonly [string, ServiceConfig])[]): Broken[] {
  const broken: Broken[] = [];
  services.forEach(([id, { key }], index) => {
    for (const [otherId, other] of services.slice(0, index)) {
      if (!mayShareKeys(key, other.key)) continue;
      const message = `an id of this service and one of ${otherId} (${other.key}) may make the same key; begin one with other letters, or put ":" before {id}`;
      broken.push(rule(['services', id, 'key'], [['services', otherId, 'key']], message));
    }
  });
  return broken;
}

function rule(at: Path, others: readonly Path[], message: string): Broken {
  return { at, reads: [at, ...others], message };
}
