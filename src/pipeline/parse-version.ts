/**
 * The version that a message itself carries.
 */
import type { Message, Operation } from '../core/change.ts';
import { CachewrightError, fail } from '../core/errors.ts';
import { sliceAt, valueAt } from '../core/json-text.ts';
import type { Clock } from '../core/ports.ts';
import type { Service, Version, VersionRule } from '../core/service.ts';
import {
  readVersion,
  refuseAhead,
  versionFromOffset,
  versionFromTimestamp,
  whereOf,
} from '../core/version.ts';
import type { Body } from './parse-body.ts';

/**
 * Undefined when the message has no version and needs none: a delete, or a service whose version is on the record that
 * is yet to be fetched.
 *
 * @param body the message's JSON; undefined when it has none
 * @param record where in it the record is; undefined: all of it
 */
export function versionOf(
  service: Service,
  op: Operation,
  message: Message,
  body: Body | undefined,
  record: readonly string[] | undefined,
  clock: Clock,
): Version | undefined {
  const { version: rule } = service;
  if (rule.from === 'offset') {
    // A delete that comes from no log has no offset: it evicts what it has seen.
    const isElsewhere = op === 'delete' && !/^\d+$/.test(message.origin.position);
    return isElsewhere ? undefined : versionFromOffset(message.origin.position);
  }
  const nowMs = rule.kind === 'time' ? clock.now() : 0;
  if (rule.from === 'record' && !service.inline) {
    const announced = announcedVersion(rule, body, record, nowMs);
    if (announced !== undefined || op === 'upsert') return announced;
  } else {
    const own = ownVersion(rule, message, body, record, nowMs);
    if (own !== undefined) return own;
  }
  return versionOfMissing(rule, op, message, nowMs);
}

/** What stands in for a field that is not there. */
export function versionOfMissing(
  rule: VersionRule,
  op: Operation,
  message: Message,
  nowMs: number,
): Version | undefined {
  if (rule.missing === 'timestamp') return timestampVersion(rule, message, nowMs);
  if (op === 'delete') return undefined;
  throw fail('E_VERSION_MISSING', { where: whereOf(rule) });
}

/**
 * A message that is not the record may still hold the record's version under the same name. When what stands there is no
 * version, it was never meant as one: no error.
 */
function announcedVersion(
  rule: VersionRule,
  body: Body | undefined,
  record: readonly string[] | undefined,
  nowMs: number,
): Version | undefined {
  try {
    return versionInRecord(rule, body, record, nowMs);
  } catch (thrown) {
    if (thrown instanceof CachewrightError) return undefined;
    throw thrown;
  }
}

function ownVersion(
  rule: VersionRule,
  message: Message,
  body: Body | undefined,
  record: readonly string[] | undefined,
  nowMs: number,
): Version | undefined {
  if (rule.from === 'header') return versionInHeader(rule, message, nowMs);
  if (rule.from === 'record') return versionInRecord(rule, body, record, nowMs);
  return body === undefined ? undefined : versionAt(rule, body, rule.path, nowMs);
}

function versionInRecord(
  rule: VersionRule,
  body: Body | undefined,
  record: readonly string[] | undefined,
  nowMs: number,
): Version | undefined {
  if (body === undefined) return undefined;
  return versionAt(rule, body, record === undefined ? rule.path : [...record, ...rule.path], nowMs);
}

function versionAt(
  rule: VersionRule,
  body: Body,
  path: readonly string[],
  nowMs: number,
): Version | undefined {
  const raw = valueAt(body.value, path);
  if (raw === undefined || raw === null) return undefined;
  const source = typeof raw === 'number' && body.hasUnsafeNumber ? sliceAt(body.text, path) : undefined;
  return readVersion(rule, raw, source, nowMs);
}

/** Of several headers of one name the last counts, as for Kafka's own clients. */
function versionInHeader(rule: VersionRule, message: Message, nowMs: number): Version | undefined {
  const value = message.headers.findLast(([name]) => name === rule.path[0])?.[1];
  if (value === undefined) return undefined;
  if (typeof value === 'string') return readVersion(rule, value, undefined, nowMs);
  throw fail('E_VERSION_INVALID', { value: value.base64, reason: 'the header is not valid UTF-8' });
}

/** The message's own time; it may not lie ahead of the clock either. */
function timestampVersion(rule: VersionRule, message: Message, nowMs: number): Version {
  const version = versionFromTimestamp(message.timestampMs);
  if (version === undefined) {
    throw fail('E_VERSION_MISSING', { where: `${whereOf(rule)} (nor has the message a time of its own)` });
  }
  refuseAhead(rule, message.timestampMs, message.timestampMs, nowMs);
  return version;
}
