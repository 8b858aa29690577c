import { type CallGate, createCallGate } from '../adapters/call-gate.ts';
import { createFunctionRecords } from '../adapters/function-records.ts';
import { createHttpRecords } from '../adapters/http-records.ts';
import { compileJsonSchema } from '../adapters/json-schema-check.ts';
import { createPostgresRecords } from '../adapters/postgres-records.ts';
import { refuseSuspiciousAbsence } from '../adapters/suspicious-absence.ts';
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
    Object.entries(config.services).map(([id, service]) => [
      id,
      compileService(id, service, { clock, effectTimeoutMs: config.worker.effectTimeoutMs }),
    ]),
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
  return (stream) => byTopic.get(topicOf(stream)) ?? originalForm;
}

function topicOf(stream: string): string {
  const dash = stream.lastIndexOf('-');
  return dash === -1 ? '' : stream.slice(0, dash);
}

function compileService(id: string, service: ServiceConfig, around: SourceSurroundings): Service {
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
  return schema.kind === 'standard' ? checkOf(schema.schema) : compileJsonSchema(schema.schema);
}

/** An inline service's source is never asked. */
const nothing: RecordSource = { fetchMany: async () => [], close: async () => undefined };

/**
 * Shares of `worker.effectTimeoutMs`: the longest wait for a turn, the longest call, and a whole fetch (a batch, then ids
 * singly). A wait and a call end inside the effect, so that a source that hangs is seen as its timeout, which the breaker
 * counts, and not as the effect's; a fetch that takes longer is cut off, and keeps what has come.
 */
const WAIT_SHARE = 0.2;
const CALL_SHARE = 0.7;
const FETCH_SHARE = 0.95;

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
  const { limits, breaker } = source;
  const timeoutMs = Math.min(source.timeoutMs, effectTimeoutMs * CALL_SHARE);
  const gate = createCallGate({
    service,
    concurrency: limits.concurrency,
    perSecond: limits.perSecond,
    breaker,
    timeoutMs,
    maxWaitMs: effectTimeoutMs * WAIT_SHARE,
    clock,
  });
  const records = recordsOf(source, { service, gate, timeoutMs, maxConnections: limits.concurrency });
  const inTime = cutOffAfter(records, effectTimeoutMs * FETCH_SHARE);
  return refuseSuspiciousAbsence(inTime, service, source.maxAbsentRatio);
}

/** Stops a fetch that takes too long by its signal: the ids that were answered keep their answers. */
function cutOffAfter(source: RecordSource, limitMs: number): RecordSource {
  return {
    fetchMany(requests, signal) {
      const limit = AbortSignal.timeout(limitMs);
      return source.fetchMany(requests, AbortSignal.any([signal, limit]));
    },
    close: () => source.close(),
  };
}

function recordsOf(
  source: Exclude<SourceConfig, { type: 'inline' }>,
  common: { service: string; gate: CallGate; timeoutMs: number; maxConnections: number },
): RecordSource {
  switch (source.type) {
    case 'http': {
      const { url, item, batch, headers, maxBytes, allowRedirectsTo } = source;
      return createHttpRecords({ ...common, url, item, batch, headers, maxBytes, allowRedirectsTo });
    }
    case 'postgres':
      return createPostgresRecords({ ...common, url: source.url, query: source.query, id: source.id });
    case 'function':
      return createFunctionRecords({ ...common, fetch: source.fetch, fetchMany: source.fetchMany });
  }
}
