/** Settings as the core's nouns: what a name, a pointer or a left-out field in the configuration means. */
import { pointerTokens } from '../core/json-text.ts';
import type { TopicMapping, VersionRule } from '../core/service.ts';
import type { TopicConfig, VersionConfig } from './schema.ts';

/** How the messages of a configured topic are read. */
export function topicMappingOf({ service, id, op, record, nullValue, decode }: TopicConfig): TopicMapping {
  const pointers = typeof id === 'string' ? [id] : id;
  return {
    service,
    id: id === 'key' ? 'key' : pointers.map(pointerTokens),
    op: pointerTokens(op),
    record: record === undefined ? undefined : pointerTokens(record),
    nullValue,
    decode,
  };
}

/** Where a service's versions come from. A field is a name, or a pointer when it begins with "/"; a header only a name. */
export function versionRuleOf(version: VersionConfig): VersionRule {
  if (version.from === 'offset') {
    return { from: 'offset', path: [], kind: 'offset', missing: 'reject', maxAheadMs: 0, timezone: undefined };
  }
  const { from, field, kind, missing, maxAheadMs, timezone } = version;
  const isPointer = from !== 'header' && field.startsWith('/');
  return { from, path: isPointer ? pointerTokens(field) : [field], kind, missing, maxAheadMs, timezone };
}

/** The file of an audit URL. */
export function sqliteFileOf(url: string): string {
  return url.slice('sqlite:'.length);
}
