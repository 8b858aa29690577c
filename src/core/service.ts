/**
 * A service as the pipeline sees it: compiled from the configuration, every field present (no optional settings inside).
 */
import type { Message, Operation } from './change.ts';
import type { RecordSource } from './ports.ts';
import type { BackoffRule } from './backoff.ts';

/** How two versions may be compared: never across kinds. */
export type VersionKind = 'counter' | 'time' | 'offset';

/** A version: its kind and a canonical decimal (no leading zeros), compared by length, then by bytes. */
export interface Version {
  readonly kind: VersionKind;
  /** counter: the number itself · time: nanoseconds since 1970 · offset: the Kafka offset. */
  readonly digits: string;
}

/** Where a service's versions come from and what they mean. */
export interface VersionRule {
  readonly from: 'record' | 'message' | 'header' | 'offset';
  /** JSON pointer tokens of the field, or the header's name as the only token; empty with `offset`. */
  readonly path: readonly string[];
  readonly kind: VersionKind;
  /** `timestamp` only with kind `time`: the message's own timestamp stands in for a missing field. */
  readonly missing: 'reject' | 'timestamp';
  /** Times further ahead of this machine's clock than this are rejected: one record from 2099 must not freeze a key. */
  readonly maxAheadMs: number;
  /** IANA zone for zone-less ISO times; without one such times are rejected. */
  readonly timezone: string | undefined;
}

/** The place of the message is the version. */
export const byOffset: VersionRule = Object.freeze({
  from: 'offset',
  path: [],
  kind: 'offset',
  missing: 'reject',
  maxAheadMs: 0,
  timezone: undefined,
});

/** What reading a message yields: which record of which service changed, and what is known without a fetch. */
export interface Change {
  readonly service: Service;
  readonly id: string;
  readonly key: string;
  readonly op: Operation;
  /** The version the message itself carries, if any. */
  readonly version: Version | undefined;
  /** The record the message itself carries (inline services), as text, byte for byte. */
  readonly record: string | undefined;
}

/** Checks a parsed value; returns what is wrong as sentences (empty: fine) and, if the schema transforms, the new value. */
export type Check = (value: unknown) => CheckResult | Promise<CheckResult>;
export type CheckResult =
  | { readonly ok: true; readonly transformed: boolean; readonly value: unknown }
  | { readonly ok: false; readonly issues: readonly string[] };

export interface Service {
  readonly id: string;
  /** `inline`: the message is the record; nothing is fetched. */
  readonly inline: boolean;
  readonly source: RecordSource;
  /** Makes the cache key of an id; throws `E_KEY_INVALID` (a CachewrightError) when it cannot. */
  readonly keyOf: (id: string) => string;
  readonly version: VersionRule;
  readonly checkMessage: Check | undefined;
  readonly checkRecord: Check | undefined;
  readonly retry: RetryRule;
  /** Time to live of values in Redis, milliseconds; 0: none, as in the original. */
  readonly ttlMs: number;
  /** Share of `ttlMs` by which values may expire earlier, 0 – 1. */
  readonly ttlJitter: number;
  /** How long a fence or tombstone outlives its value, milliseconds; 0: for ever. */
  readonly fenceTtlMs: number;
  /** Time to live of local entries, milliseconds; the published bound of staleness should coherence ever fail. */
  readonly localTtlMs: number;
  readonly read: ReadRule;
}

/** How a service's records are read. */
export interface ReadRule {
  /** Whether a record that neither tier has is read from the source; never for inline services. */
  readonly fromSource: boolean;
  /** How long after its time to live a local entry still answers, while it is read again behind the reader's back; milliseconds. */
  readonly staleWhileRevalidateMs: number;
  /** How long after its time to live a local entry answers when reading it again fails; milliseconds. */
  readonly failSafeMs: number;
  /** How long local entries are kept beyond their time to live for both: the longer of the two; milliseconds. */
  readonly keepMs: number;
  /** How long it is remembered that a record was found absent; milliseconds. */
  readonly negativeTtlMs: number;
}

export interface RetryRule {
  /** Failed attempts after which a run gives up. */
  readonly attempts: number;
  readonly backoff: BackoffRule;
  /** The longest a run may wait in all, attempts and free waits together, milliseconds. */
  readonly horizonMs: number;
}

/** What a user's `decode` returns. */
export interface DecodedChange {
  readonly serviceId: string;
  readonly id: string | number | bigint;
  readonly op?: Operation;
  /** The message's own version, canonical or as the version rule's kind reads it. */
  readonly version?: string | number | bigint;
  /** The record itself (inline services), as JSON text or as a value to be serialised. */
  readonly record?: unknown;
}

/**
 * How the messages of one topic (or other stream) are read. Pointers are JSON pointers split into tokens; the default
 * is the original's form, {@link originalForm}.
 */
export interface TopicMapping {
  /** Fixed service of this topic; undefined: the message's `serviceId`. */
  readonly service: string | undefined;
  /**
   * Pointers of the id, tried in order until one leads to a value, or `key` for the text of the Kafka key.
   * A configuration gives one pointer or a list: `["/after/id", "/before/id"]` also reads Debezium's deletes.
   */
  readonly id: readonly (readonly string[])[] | 'key';
  /**
   * Pointer of the operation: `upsert` or `delete`, or Debezium's `c`, `r`, `u` (upsert) and `d` (delete); a missing
   * field or null means upsert.
   */
  readonly op: readonly string[];
  /**
   * Pointer of the record inside the message (Debezium's `/after`); undefined: the whole message is the record. Fields
   * of a version rule `from: "record"` are looked for in it.
   */
  readonly record: readonly string[] | undefined;
  /**
   * What a null value (a Kafka tombstone) means. `delete` needs `service`; the id is the key's text, or, when `id` has
   * pointers and the key is a JSON object, that object's field with the pointers' last name (`{"id":200}`, also below `payload`).
   */
  readonly nullValue: 'reject' | 'delete';
  /**
   * A decoder of the user's own: one change, several (each becomes a run), or undefined (nothing to do: `ignored`).
   * It is given every message that is small enough, whatever its value; the other settings then do nothing.
   */
  readonly decode: ((message: Message) => DecodedChange | readonly DecodedChange[] | undefined) | undefined;
}

/** `{"serviceId": string, "id": string | integer, "op"?: "upsert" | "delete", …}`, the whole message being the record. */
export const originalForm: TopicMapping = {
  service: undefined,
  id: [['id']],
  op: ['op'],
  record: undefined,
  nullValue: 'reject',
  decode: undefined,
};
