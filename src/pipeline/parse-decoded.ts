/**
 * Changes from a user's own `decode` function. What it returns is looked at as closely as a message is, since it may be
 * plain JavaScript.
 */
import type { Message, Operation } from '../core/change.ts';
import { asError, type CachewrightError, fail, reasonOf } from '../core/errors.ts';
import type { Change, DecodedChange, Service, TopicMapping, Version } from '../core/service.ts';
import { isContainer } from '../core/json-text.ts';
import { parseVersion, readVersion, refuseAhead } from '../core/version.ts';
import { type Body, type ParseOptions, readJson } from './parse-body.ts';
import { readId, readOperation, serviceOf } from './parse-fields.ts';
import { checkedRecord } from './parse-record.ts';
import { versionOf } from './parse-version.ts';

type Decode = NonNullable<TopicMapping['decode']>;
/** A change as it comes out of a function that nothing has checked. */
type Decoded = Readonly<Partial<Record<keyof DecodedChange, unknown>>>;

/**
 * All changes of one message, or none when there is nothing to do. A message with one bad change is rejected as a whole:
 * its dead letter holds all of it.
 */
export function decodedChanges(
  options: ParseOptions,
  decode: Decode,
  message: Message,
): readonly Change[] | Promise<readonly Change[]> {
  const changes = callDecoder(decode, message).map((decoded) => {
    const change = changeOf(options, message, decoded);
    // A later change may be refused at once; then nobody waits for this one, and its own failure must not end the process.
    if (change instanceof Promise) change.catch(() => undefined);
    return change;
  });
  const ready = changes.filter((change): change is Change => !(change instanceof Promise));
  return ready.length === changes.length
    ? ready
    : Promise.all(changes.map((change) => Promise.resolve(change)));
}

function callDecoder(decode: Decode, message: Message): readonly Decoded[] {
  let decoded: unknown;
  try {
    decoded = decode(message);
  } catch (thrown) {
    throw decodeFailed(message, reasonOf(thrown), thrown);
  }
  if (decoded instanceof Promise) {
    decoded.catch(() => undefined);
    throw decodeFailed(message, 'it returned a promise, but must answer at once');
  }
  if (decoded === undefined || decoded === null) return [];
  const all: readonly unknown[] = Array.isArray(decoded) ? decoded : [decoded];
  return all.map((change) => {
    if (isContainer(change)) return change;
    throw decodeFailed(message, `it returned ${String(change)} in the place of a change`);
  });
}

function changeOf(options: ParseOptions, message: Message, decoded: Decoded): Change | Promise<Change> {
  const service = serviceOf(options.services, decoded.serviceId);
  const op = readOperation(decoded.op);
  if (decoded.id === undefined || decoded.id === null) {
    throw fail('E_ID_MISSING', { path: '`id` of what the decode function returned' });
  }
  const id = readId(decoded.id, undefined);
  const key = service.keyOf(id);
  const isInline = service.inline && op === 'upsert';
  const body = isInline ? recordOf(options, message, service, decoded.record) : undefined;
  const version = decodedVersion(options, message, service, op, decoded, body);
  if (body === undefined) return { service, id, key, op, version, record: undefined };
  const record = checkedRecord(service, body.text, body.value);
  if (typeof record === 'string') return { service, id, key, op, version, record };
  return record.then((late) => ({ service, id, key, op, version, record: late }));
}

/** A record given as text is stored as it is; any other value is written as JSON. */
function recordOf(options: ParseOptions, message: Message, service: Service, record: unknown): Body {
  if (record === undefined || record === null) {
    throw decodeFailed(message, `it returned no record for the inline service ${service.id}`);
  }
  try {
    const text = typeof record === 'string' ? record : JSON.stringify(record);
    return readJson(text, options.limits.maxDepth);
  } catch (thrown) {
    throw decodeFailed(message, `its record cannot be used: ${reasonOf(thrown)}`, thrown);
  }
}

/** The decoder's own version, as the rule's kind reads it or canonical (`counter:42`), else what the rule finds. */
function decodedVersion(
  { clock }: ParseOptions,
  message: Message,
  service: Service,
  op: Operation,
  { version: raw }: Decoded,
  record: Body | undefined,
): Version | undefined {
  const { version: rule } = service;
  if (raw === undefined || raw === null || rule.from === 'offset') {
    const body = rule.from === 'record' ? record : undefined;
    return versionOf(service, op, message, body, undefined, clock);
  }
  const nowMs = clock.now();
  const canonical = typeof raw === 'string' ? parseVersion(raw) : null;
  if (canonical === null || canonical.kind !== rule.kind) return readVersion(rule, raw, undefined, nowMs);
  if (canonical.kind === 'time') refuseAhead(rule, raw, Number(canonical.digits.slice(0, -6)), nowMs);
  return canonical;
}

function decodeFailed(message: Message, reason: string, cause?: unknown): CachewrightError {
  return fail(
    'E_DECODE_FAILED',
    { topic: message.origin.stream, reason },
    cause === undefined ? undefined : { cause: asError(cause) },
  );
}
