/**
 * The `parse` effect's pure part: from the bytes of a message to the change it asks for, or the reason why not.
 *
 * It runs once per message, so it stays synchronous unless a schema is not; only then is a promise returned.
 */
import type { Message, Operation } from '../core/change.ts';
import { asError, type CachewrightError } from '../core/errors.ts';
import { valueAt } from '../core/json-text.ts';
import type { Change, Service, TopicMapping } from '../core/service.ts';
import { type Body, bodyOf, type ParseOptions, refuseLarge } from './parse-body.ts';
import { decodedChanges } from './parse-decoded.ts';
import { idOf, idOfKey, operationOf, serviceOf } from './parse-fields.ts';
import { inlineRecord, refuseInvalid } from './parse-record.ts';
import { versionOf } from './parse-version.ts';

export type ParseResult =
  /** One change, or several when a decoder found several. */
  | { readonly kind: 'changes'; readonly changes: readonly Change[] }
  /** A decoder found nothing to do. */
  | { readonly kind: 'ignored' }
  /** No change could be read; the error's outcome says whether the message is at fault (`reject`) or the program. */
  | { readonly kind: 'rejected'; readonly error: CachewrightError };

export type Parse = (message: Message) => ParseResult | Promise<ParseResult>;

/**
 * Makes the function that reads messages. It never throws.
 *
 * The service's `message` schema is applied to every message that has a value, deletes too; what it may make of the
 * message is not used. Its `record` schema is applied to inline records, and what it makes of them is what is stored.
 */
export function createParse(options: ParseOptions): Parse {
  let stream: string | undefined;
  let mapping: TopicMapping | undefined;
  return (message) => {
    try {
      if (mapping === undefined || stream !== message.origin.stream) {
        stream = message.origin.stream;
        mapping = options.mappingOf(stream);
      }
      const changes = changesOf(options, mapping, message);
      return changes instanceof Promise ? changes.then(resultOf, rejectionOf) : resultOf(changes);
    } catch (thrown) {
      return rejectionOf(thrown);
    }
  };
}

type Changes = readonly Change[] | Promise<readonly Change[]>;

function changesOf(options: ParseOptions, mapping: TopicMapping, message: Message): Changes {
  refuseLarge(message, options.limits.maxMessageBytes);
  if (mapping.decode !== undefined) return decodedChanges(options, mapping.decode, message);
  if (message.value === null && mapping.nullValue === 'delete') {
    return [deleteByKey(options, mapping, message)];
  }
  const body = bodyOf(message, options.limits.maxDepth);
  const service = serviceOf(options.services, mapping.service ?? valueAt(body.value, ['serviceId']));
  const op = operationOf(mapping, body);
  const id = idOf(mapping, message, body);
  const finish = (): Changes => finishChange(options, mapping, message, body, service, op, id);
  const checked = service.checkMessage?.(body.value);
  if (checked instanceof Promise) {
    return checked.then((result) => {
      refuseInvalid(result);
      return finish();
    });
  }
  if (checked !== undefined) refuseInvalid(checked);
  return finish();
}

/** The rest of the change: its key, its version and, for inline services, its record. */
function finishChange(
  { clock }: ParseOptions,
  mapping: TopicMapping,
  message: Message,
  body: Body,
  service: Service,
  op: Operation,
  id: string,
): Changes {
  const key = service.keyOf(id);
  const version = versionOf(service, op, message, body, mapping.record, clock);
  if (!service.inline || op === 'delete') return [{ service, id, key, op, version, record: undefined }];
  const record = inlineRecord(service, body, mapping.record);
  if (typeof record === 'string') return [{ service, id, key, op, version, record }];
  return record.then((late) => [{ service, id, key, op, version, record: late }]);
}

/** A null value where the topic says that it means a delete. */
function deleteByKey(options: ParseOptions, mapping: TopicMapping, message: Message): Change {
  const service = serviceOf(options.services, mapping.service);
  const id = idOfKey(mapping, message);
  const key = service.keyOf(id);
  const version = versionOf(service, 'delete', message, undefined, undefined, options.clock);
  return { service, id, key, op: 'delete', version, record: undefined };
}

function resultOf(changes: readonly Change[]): ParseResult {
  return changes.length === 0 ? { kind: 'ignored' } : { kind: 'changes', changes };
}

/** Any error, also one of the program, stays with its message: it must not stop the others of its group. */
function rejectionOf(thrown: unknown): ParseResult {
  return { kind: 'rejected', error: asError(thrown) };
}
