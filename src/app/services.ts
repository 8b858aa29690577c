import type { Config, ServiceConfig, SourceConfig, VersionConfig } from '../config/schema.ts';
import { pointerTokens } from '../core/json-text.ts';
import { compileKeyTemplate } from '../core/key.ts';
import type { Clock, RecordSource } from '../core/ports.ts';
import { checkOf } from '../core/schema.ts';
import {
  type Check,
  originalForm,
  type Service,
  type TopicMapping,
  type VersionRule,
} from '../core/service.ts';

/** The services of a configuration, compiled: what the pipeline works with has no optional settings. */
export function compileServices(config: Config, clock: Clock): ReadonlyMap<string, Service> {
  return new Map(
    Object.entries(config.services).map(([id, service]) => [id, compileService(id, service, clock)]),
  );
}

/** How the messages of a stream are read: by the mapping of its topic, else in the original's form. */
export function compileMappings(config: Config): (stream: string) => TopicMapping {
  const byTopic = new Map<string, TopicMapping>();
  for (const topic of config.kafka?.topics ?? []) {
    byTopic.set(topic.name, {
      service: topic.service,
      id: topic.id === 'key' ? 'key' : [topic.id].flat().map(pointerTokens),
      op: pointerTokens(topic.op),
      record: topic.record === undefined ? undefined : pointerTokens(topic.record),
      nullValue: topic.nullValue,
      decode: topic.decode,
    });
  }
  // A Kafka stream is `<topic>-<partition>`; other streams have names that no topic can have, or no mapping.
  return (stream) => byTopic.get(stream.slice(0, stream.lastIndexOf('-'))) ?? originalForm;
}

function compileService(id: string, service: ServiceConfig, clock: Clock): Service {
  return {
    id,
    inline: service.source.type === 'inline',
    source: compileSource(id, service.source, clock),
    keyOf: compileKeyTemplate(service.key),
    version: compileVersion(service.version),
    checkMessage: compileSchema(service.message),
    checkRecord: compileSchema(service.record),
    retry: {
      attempts: service.retry.attempts,
      backoff: {
        initialMs: service.retry.initialMs,
        factor: service.retry.factor,
        maxMs: service.retry.maxMs,
        jitter: service.retry.jitter,
      },
      horizonMs: service.retry.horizonMs,
    },
    fetchTimeoutMs: service.source.type === 'inline' ? 0 : service.source.timeoutMs,
    ttlMs: service.ttlMs,
    ttlJitter: service.ttlJitter,
    fenceTtlMs: service.fenceTtlMs,
    localTtlMs: service.local.ttlMs,
  };
}

function compileVersion(version: VersionConfig): VersionRule {
  if (version.from === 'offset') {
    return {
      from: 'offset',
      path: [],
      kind: 'offset',
      missing: 'reject',
      maxAheadMs: 0,
      timezone: undefined,
    };
  }
  const { from, field, kind, missing, maxAheadMs, timezone } = version;
  const path = from !== 'header' && field.startsWith('/') ? pointerTokens(field) : [field];
  return { from, path, kind, missing, maxAheadMs, timezone };
}

function compileSchema(schema: ServiceConfig['record']): Check | undefined {
  if (schema === undefined) return undefined;
  return schema.kind === 'standard' ? checkOf(schema.schema) : undefined;
}

/** An inline service's source is never asked. */
const nothing: RecordSource = { fetchMany: async () => [], close: async () => undefined };

function compileSource(service: string, source: SourceConfig, clock: Clock): RecordSource {
  if (source.type === 'inline') return nothing;
  return nothing;
}
