/**
 * The single fields of a change: service, operation and id.
 */
import type { Message, Operation } from '../core/change.ts';
import { type CachewrightError, fail } from '../core/errors.ts';
import { pointerOf, sliceAt, valueAt } from '../core/json-text.ts';
import type { Service, TopicMapping } from '../core/service.ts';
import { type Body, readJson } from './parse-body.ts';

/** `c`, `r`, `u` and `d` are Debezium's create, read (snapshot), update and delete. */
const operations: ReadonlyMap<unknown, Operation> = new Map([
  ['upsert', 'upsert'],
  ['delete', 'delete'],
  ['c', 'upsert'],
  ['r', 'upsert'],
  ['u', 'upsert'],
  ['d', 'delete'],
]);

/** An integer as JSON writes it; a fraction of zeros changes nothing, an exponent is refused. */
const integerText = /^(-?\d+)(?:\.0+)?$/;

/** Keys are small; this only keeps a hostile one from nesting. */
const MAX_KEY_DEPTH = 16;

export function serviceOf(services: ReadonlyMap<string, Service>, serviceId: unknown): Service {
  if (typeof serviceId !== 'string' || serviceId === '') throw fail('E_SERVICE_MISSING');
  const service = services.get(serviceId);
  if (service === undefined) throw fail('E_SERVICE_UNKNOWN', { service: serviceId });
  return service;
}

export function operationOf(mapping: TopicMapping, body: Body): Operation {
  return readOperation(valueAt(body.value, mapping.op));
}

/** Missing and null mean upsert. */
export function readOperation(raw: unknown): Operation {
  if (raw === undefined || raw === null) return 'upsert';
  const op = operations.get(raw);
  if (op !== undefined) return op;
  throw fail('E_OP_INVALID', { op: typeof raw === 'string' ? raw : JSON.stringify(raw) });
}

/** The id at the first pointer that leads to a value, or the Kafka key's text. */
export function idOf(mapping: TopicMapping, message: Message, body: Body): string {
  return mapping.id === 'key' ? keyText(message) : idAt(body, mapping.id, '');
}

/** The id of a message without a value: what its key says, see {@link TopicMapping.nullValue}. */
export function idOfKey(mapping: TopicMapping, message: Message): string {
  const text = keyText(message);
  if (mapping.id === 'key' || !text.startsWith('{')) return text;
  const names = mapping.id.map((pointer) => pointer.slice(-1));
  const pointers = [...names, ...names.map((name) => ['payload', ...name])];
  return idAt(readJson(text, MAX_KEY_DEPTH), pointers, ' of the Kafka key');
}

/**
 * An id as text.
 *
 * @param source the id's own JSON text where `JSON.parse` may have rounded it: integers beyond 2^53 keep every digit
 */
export function readId(raw: unknown, source: string | undefined): string {
  if (typeof raw === 'string') {
    if (raw === '') throw invalidId('it is empty');
    return raw;
  }
  if (typeof raw === 'bigint') return String(raw);
  if (typeof raw !== 'number') throw invalidId(`it is of type ${Array.isArray(raw) ? 'array' : typeof raw}`);
  if (source === undefined) {
    if (Number.isSafeInteger(raw)) return String(raw);
    throw invalidId(`${raw} is no integer that JavaScript holds exactly; send it as text`);
  }
  const digits = integerText.exec(source)?.[1];
  if (digits === undefined) throw invalidId(`${source} is no integer written as digits`);
  return digits === '-0' ? '0' : digits;
}

function idAt(body: Body, pointers: readonly (readonly string[])[], where: string): string {
  for (const pointer of pointers) {
    const raw = valueAt(body.value, pointer);
    if (raw === undefined || raw === null) continue;
    const source = typeof raw === 'number' && body.hasUnsafeNumber ? sliceAt(body.text, pointer) : undefined;
    return readId(raw, source);
  }
  throw fail('E_ID_MISSING', { path: pointers.map(pointerOf).join(' or ') + where });
}

function keyText({ key }: Message): string {
  if (key === null) throw fail('E_ID_MISSING', { path: 'the Kafka key' });
  if (typeof key !== 'string') throw invalidId('the Kafka key is not valid UTF-8');
  if (key === '') throw invalidId('the Kafka key is empty');
  return key;
}

function invalidId(reason: string): CachewrightError {
  return fail('E_ID_INVALID', { reason });
}
