import { createFunctionRecords } from '../adapters/function-records.ts';
import { type Guarded, guardSource } from '../adapters/guarded-source.ts';
import { createHttpRecords } from '../adapters/http-records.ts';
import { compileJsonSchema } from '../adapters/json-schema-check.ts';
import { createPostgresRecords } from '../adapters/postgres-records.ts';
import type { Config, ServiceConfig, SourceConfig, VersionConfig } from '../config/schema.ts';
import { pointerTokens } from '../core/json-text.ts';
import { compileKeyMatcher, compileKeyTemplate } from '../core/key.ts';
import type { FollowRule } from '../read/coherence.ts';
import type { Clock, RecordSource } from '../core/ports.ts';
import { checkOf } from '../core/schema.ts';
import {
  byOffset,
  type Check,
  originalForm,
  type Service,
  type TopicMapping,
  type VersionRule,
} from '../core/service.ts';
import { adminMapping, isAdminStream } from '../ingest/admin.ts';

/** The services of a configuration, compiled: what the pipeline works with has no optional settings. */
export function compileServices(config: Config, clock: Clock): ReadonlyMap<string, Service> {
  return new Map(
    Object.entries(config.services).map(([id, service]) => [
      id,
      compileService(id, service, { clock, effectTimeoutMs: config.worker.effectTimeoutMs }),
    ]),
  );
}

/** What an instance does when a key it holds has changed: by the service whose keys look like it. */
export function compileFollowRules(
  config: Config['services'],
  services: ReadonlyMap<string, Service>,
): (key: string) => FollowRule | undefined {
  const rules = [...services].flatMap(([id, { localTtlMs, read }]) => {
    const given = config[id];
    if (given === undefined) return [];
    const rule = { onChange: given.local.onChange, localTtlMs, keepMs: read.keepMs };
    return [{ isOf: compileKeyMatcher(given.key), rule }];
  });
  return (key) => rules.find(({ isOf }) => isOf(key))?.rule;
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
  return (stream) => byTopic.get(topicOf(stream)) ?? (isAdminStream(stream) ? adminMapping : originalForm);
}

function topicOf(stream: string): string {
  const dash = stream.lastIndexOf('-');
  return dash === -1 ? '' : stream.slice(0, dash);
}

function compileService(id: string, service: ServiceConfig, around: SourceSurroundings): Service {
  const { staleWhileRevalidateMs, failSafeMs, negativeTtlMs, fromSource } = service.read;
  const keepMs = Math.max(staleWhileRevalidateMs, failSafeMs);
  return {
    id,
    inline: service.source.type === 'inline',
    source: compileSource(id, service.source, around),
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
    ttlMs: service.ttlMs,
    ttlJitter: service.ttlJitter,
    fenceTtlMs: service.fenceTtlMs,
    localTtlMs: service.local.ttlMs,
    read: {
      fromSource: fromSource && service.source.type !== 'inline',
      staleWhileRevalidateMs,
      failSafeMs,
      keepMs,
      negativeTtlMs,
    },
  };
}

function compileVersion(version: VersionConfig): VersionRule {
  if (version.from === 'offset') return byOffset;
  const { from, field, kind, missing, maxAheadMs, timezone } = version;
  const path = from !== 'header' && field.startsWith('/') ? pointerTokens(field) : [field];
  return { from, path, kind, missing, maxAheadMs, timezone };
}

function compileSchema(schema: ServiceConfig['record']): Check | undefined {
  if (schema === undefined) return undefined;
  return schema.kind === 'standard' ? checkOf(schema.schema) : compileJsonSchema(schema.schema);
}

/** An inline service's source is never asked. */
const nothing: RecordSource = { fetchMany: async () => [], close: async () => undefined };

interface SourceSurroundings {
  readonly clock: Clock;
  readonly effectTimeoutMs: number;
}

function compileSource(
  service: string,
  source: SourceConfig,
  { clock, effectTimeoutMs }: SourceSurroundings,
): RecordSource {
  if (source.type === 'inline') return nothing;
  const { limits, timeoutMs, breaker, maxAbsentRatio } = source;
  return guardSource((guarded) => recordsOf(source, guarded), {
    service,
    concurrency: limits.concurrency,
    perSecond: limits.perSecond,
    timeoutMs,
    effectTimeoutMs,
    breaker,
    maxAbsentRatio,
    clock,
  });
}

function recordsOf(source: Exclude<SourceConfig, { type: 'inline' }>, guarded: Guarded): RecordSource {
  switch (source.type) {
    case 'http': {
      const { url, item, batch, headers, maxBytes, allowRedirectsTo } = source;
      return createHttpRecords({ ...guarded, url, item, batch, headers, maxBytes, allowRedirectsTo });
    }
    case 'postgres':
      return createPostgresRecords({ ...guarded, url: source.url, query: source.query, id: source.id });
    case 'function':
      return createFunctionRecords({ ...guarded, fetch: source.fetch, fetchMany: source.fetchMany });
  }
}
