/**
 * The error catalogue: every failure the product knows, what it means for the run (or the command) and what to do.
 * `docs/errors.md` is held equal to this table by a test.
 */

/**
 * What a failure does.
 *
 * - `retry`: the run waits and tries again, up to its service's attempts.
 * - `reject`: the message itself is at fault; it goes to the dead letters at once and is never retried.
 * - `defect`: the program is at fault; the run gives up at once, loudly.
 * - `wait`: not a failure of the run: it waits without using an attempt (open breaker, rate limit).
 * - `refuse`: a command or a start refuses; nothing ran. The exit code is 2.
 * - `unreachable`: a dependency cannot be reached; a command exits with 69.
 */
export type ErrorOutcome = 'retry' | 'reject' | 'defect' | 'wait' | 'refuse' | 'unreachable';

interface CatalogueEntry {
  readonly outcome: ErrorOutcome;
  /** `{name}` is filled from the error's details. */
  readonly message: string;
  /** What a person does next. */
  readonly next: string;
}

const entry = (outcome: ErrorOutcome, message: string, next: string): CatalogueEntry => ({
  outcome,
  message,
  next,
});

export const catalogue = {
  // Reading a message
  E_MESSAGE_EMPTY: entry(
    'reject',
    'The message has no value.',
    'Send a JSON object, or set `nullValue: "delete"` for this topic if a null value means a delete.',
  ),
  E_MESSAGE_TOO_LARGE: entry(
    'reject',
    'The message has {bytes} bytes; {max} are allowed.',
    'Send less, or raise `limits.maxMessageBytes`.',
  ),
  E_MESSAGE_TOO_DEEP: entry(
    'reject',
    'The message nests deeper than {max} levels.',
    'Send flatter JSON, or raise `limits.maxDepth`.',
  ),
  E_MESSAGE_NOT_UTF8: entry(
    'reject',
    'The message is not valid UTF-8.',
    'Send UTF-8; other encodings and binary formats need a `decode` function.',
  ),
  E_MESSAGE_NOT_JSON: entry(
    'reject',
    'The message is not JSON: {reason}.',
    'Send one JSON object per message.',
  ),
  E_MESSAGE_NOT_OBJECT: entry(
    'reject',
    'The message is {type}, not a JSON object.',
    'Send one JSON object per message.',
  ),
  E_MESSAGE_FORBIDDEN_KEY: entry(
    'reject',
    'The message carries the key {name}, which could alter prototypes.',
    'Rename the field at the producer.',
  ),
  E_MESSAGE_INVALID: entry(
    'reject',
    "The message does not match its service's schema: {issues}.",
    'Mend the producer, or the `message` schema of the service and redrive: `cachewright dead redrive`.',
  ),
  E_DECODE_FAILED: entry(
    'reject',
    'The decode function of topic {topic} failed: {reason}.',
    'Mend the function, then redrive: `cachewright dead redrive`; the original bytes are in the dead letter.',
  ),
  E_SERVICE_MISSING: entry(
    'reject',
    'The message has no `serviceId`, or it is not a non-empty string.',
    'Send `serviceId`, or give the topic a fixed `service`.',
  ),
  E_SERVICE_UNKNOWN: entry(
    'reject',
    'No service {service} is configured.',
    'Add it under `services`, then redrive its dead letters: `cachewright dead redrive`.',
  ),
  E_ID_MISSING: entry(
    'reject',
    'The message has no id at {path}.',
    'Send the id, or point `id` of the topic to it.',
  ),
  E_ID_INVALID: entry('reject', 'The id is not usable: {reason}.', 'Send a non-empty string or an integer.'),
  E_OP_INVALID: entry(
    'reject',
    'The operation {op} is neither "upsert" nor "delete".',
    'Send `op` as "upsert" or "delete", or leave it out.',
  ),
  E_KEY_INVALID: entry(
    'reject',
    'The cache key for id {id} is not usable: {reason}.',
    'Shorten the id, or change the key template.',
  ),
  E_VERSION_MISSING: entry(
    'reject',
    'No version: {where} is missing.',
    'Send it, or choose another `version` rule for this service.',
  ),
  E_VERSION_INVALID: entry(
    'reject',
    'The version {value} is not usable: {reason}.',
    'Send a non-negative decimal (kind "counter") or an ISO time or epoch milliseconds (kind "time").',
  ),
  E_VERSION_AHEAD: entry(
    'reject',
    'The version {value} lies {aheadMs} ms in the future; {max} ms are allowed.',
    'Mend the clock that made it, or raise `maxAheadMs`; such a version would freeze its key.',
  ),
  E_VERSION_RULE_CHANGED: entry(
    'reject',
    'The stored fence of {key} has versions of kind {stored}, the service now says {kind}; these cannot be compared.',
    'Put the old rule back; or look with `cachewright fence show SERVICE ID`, begin anew with `cachewright fence reset SERVICE ID --reason …`, then redrive: `cachewright dead redrive`.',
  ),
  // Fetching
  E_FETCH_FAILED: entry(
    'retry',
    'The source of {service} failed: {reason}.',
    'Look at the source; the run is retried.',
  ),
  E_FETCH_TIMEOUT: entry(
    'retry',
    'The source of {service} did not answer within {timeoutMs} ms.',
    'Look at the source, or raise its `timeoutMs`; the run is retried.',
  ),
  E_FETCH_REDIRECTED: entry(
    'retry',
    'The source of {service} redirects to {location}, which is not allowed.',
    'List the host under `allowRedirectsTo`, or point the URL to the final address.',
  ),
  E_FETCH_TOO_LARGE: entry(
    'retry',
    'The answer of the source of {service} is larger than {max} bytes.',
    'Fetch fewer ids at once (`batch.maxIds`), or raise `maxBytes` of the source.',
  ),
  E_FETCH_NOT_JSON: entry(
    'retry',
    'The source of {service} answered with something that is not JSON: {reason}.',
    'Look at the source; the cached value stays; the run is retried.',
  ),
  E_FETCH_ITEM_UNKNOWN: entry(
    'retry',
    'The batch answer of {service} holds no usable list at {path}: {reason}.',
    'Mend `batch.items` and `batch.id`.',
  ),
  E_RECORD_INVALID: entry(
    'retry',
    'What the source of {service} answered for {id} is no record: {issues}.',
    'Look at the source, or mend the `record` schema; the cached value stays.',
  ),
  E_SUSPICIOUS_ABSENCE: entry(
    'retry',
    '{absent} of {asked} records of {service} are gone at once; nothing is evicted.',
    'If they really are gone, raise `maxAbsentRatio`.',
  ),
  E_SOURCE_BEHIND: entry(
    'retry',
    'The source of {service} is behind: it has version {source}, the message announced {message}.',
    'Nothing, if the source is a replica that catches up; else read from the primary.',
  ),
  E_SOURCE_OPEN: entry(
    'wait',
    'The circuit breaker of {service} is open.',
    'Nothing: the run waits without using attempts, and goes on when the source answers.',
  ),
  E_SOURCE_BUSY: entry(
    'wait',
    'The source of {service} is at its limit ({limit}).',
    'Nothing: the run waits without using attempts.',
  ),
  E_WAITED_TOO_LONG: entry(
    'defect',
    'The run waited for {service} since {since}, longer than its horizon of {horizonMs} ms.',
    'Mend the source, then redrive: `cachewright dead redrive`.',
  ),
  // Tiers
  E_LOCAL_MISMATCH: entry(
    'retry',
    'The local tier does not give back what was written under {key}.',
    'The entry may not fit: see `local.maxBytes`; the run is retried.',
  ),
  E_REDIS_UNAVAILABLE: entry(
    'retry',
    'Redis did not take the write: {reason}.',
    'Look at Redis; the run is retried.',
  ),
  E_REDIS_WRITE: entry(
    'retry',
    'Redis refused to write {key}: {reason}.',
    'Another program may use this key for another type; mend that. The run is retried; if it gave up, redrive it: `cachewright dead redrive`.',
  ),
  E_REDIS_READ: entry('retry', 'Redis did not answer: {reason}.', 'Look at Redis; the run is retried.'),
  E_FENCE_CHANGED: entry(
    'retry',
    'The fence of {key} changed while its record was being read.',
    'Nothing: the record is read again.',
  ),
  E_FENCE_IN_USE: entry(
    'refuse',
    'The fence of {key} was written while it was to be reset; it stays.',
    'Look at it again with `cachewright fence show`: a fence that is written needs no reset.',
  ),
  // The executor
  E_EFFECT_TIMEOUT: entry(
    'retry',
    'The effect {effect} did not end within {timeoutMs} ms.',
    'Look at what it calls; the run is retried.',
  ),
  E_ABORTED: entry('retry', 'The execution was aborted: {reason}.', 'Nothing: the job is picked up again.'),
  E_OUTCOMES_MISSING: entry(
    'defect',
    'The effect {effect} gave {got} outcomes for {runs} runs.',
    'This is a bug in the effect: report it; redrive the messages afterwards: `cachewright dead redrive`.',
  ),
  E_EVENT_UNKNOWN: entry(
    'defect',
    'The state {state} does not know the event {event}.',
    'This is a bug in an effect or the chart: report it; redrive the messages afterwards: `cachewright dead redrive`.',
  ),
  E_WORKER_KILLED: entry(
    'defect',
    'This message was alone in its job when {executions} executions in a row died with their process.',
    'Look at the schema, decode or source function it goes through; redrive it when mended: `cachewright dead redrive`.',
  ),
  E_JOB_FAILED: entry(
    'defect',
    'BullMQ failed the job by itself: {reason}.',
    'Nothing: its messages are taken up again; see why it failed.',
  ),
  E_UNEXPECTED: entry(
    'retry',
    'Something unexpected happened: {what}.',
    'Report it, with the log of this time.',
  ),
  // The chart
  E_CHART_INVALID: entry(
    'refuse',
    'The statechart {machine} cannot be compiled: {reason}.',
    'Keep the chart context-free: states, events and the name of an effect in `meta`.',
  ),
  E_SNAPSHOT_UNKNOWN: entry(
    'defect',
    'The snapshot belongs to {machine}, which this program does not know.',
    'Run the version that wrote it, or start the run anew.',
  ),
  // Formats
  E_FORMAT_NEWER: entry(
    'wait',
    'This {what} has format {format}; this program knows {known}.',
    'Nothing, during an upgrade: newer workers take it. Else upgrade.',
  ),
  // Dead letters
  E_REDRIVE_LIMIT: entry(
    'refuse',
    '{count} dead letter(s) were redriven as often as is allowed ({max}) and died again, {message} among them of {error}.',
    'Look at why (`cachewright dead show`), mend it, then insist with `--force` (`"force": true` over HTTP), or discard them.',
  ),
  // Ingest and HTTP
  E_TOPIC_MISSING: entry(
    'refuse',
    'The topic {topic} does not exist.',
    'Create it, or correct `kafka.topics`.',
  ),
  E_KAFKA_AUTH: entry('refuse', 'Kafka refused the credentials: {reason}.', 'Correct `kafka.sasl`.'),
  E_CODEC_MISSING: entry(
    'retry',
    'The topic {topic} holds messages compressed with {codec}, for which no codec is set.',
    'Register one: see docs/operations.md, compression codecs.',
  ),
  E_BATCH_TOO_LARGE: entry(
    'retry',
    'A {codec} batch of topic {topic} unpacks to more than {max} bytes.',
    'Look at its producer, or raise `kafka.maxUnpackedBytes`; the consumer waits in front of this batch.',
  ),
  E_MARK_MOVED: entry(
    'retry',
    'The mark of {stream} was moved by another consumer.',
    'Nothing: the partition is read again from where the mark stands.',
  ),
  E_SHARD_DRAINING: entry(
    'retry',
    'Jobs of {stream} are unfinished in shard {from} of the queue; it goes on in shard {to} when they are done.',
    'Nothing, while workers run. Where they wait for a source: wait for it too, or set `queue.shards` back.',
  ),
  E_REPLAY_REFUSED: entry(
    'refuse',
    'Partition {partition} of topic {topic} cannot be replayed: {reason}.',
    'Choose others with `--partition`, or let ingest take the topic in first.',
  ),
  E_REPLAY_STOPPED: entry(
    'refuse',
    'The replay of topic {topic}, partition {partition}, was stopped: {reason}.',
    'Nothing is harmed. Look at the log of ingest; then plan the replay anew.',
  ),
  E_ENQUEUE_FAILED: entry(
    'retry',
    'The queue did not confirm the messages: {reason}.',
    'Look at Redis; nothing is committed and the same messages are offered again.',
  ),
  E_QUEUE_FULL: entry(
    'retry',
    'The queue takes no more for now: {reason}.',
    'Send it again later; look at what holds the workers or the audit store up.',
  ),
  E_REQUEST_INVALID: entry(
    'reject',
    'The request is not usable: {reason}.',
    'Send a JSON object, an array of objects, or NDJSON with its content type.',
  ),
  E_REQUEST_TOO_LARGE: entry(
    'reject',
    'The request is larger than {max} bytes.',
    'Send fewer changes at once.',
  ),
  E_REQUEST_TIMEOUT: entry(
    'retry',
    'The request was not answered within {timeoutMs} ms.',
    'Look at `/readyz` for what is missing. Posted changes may have been taken: repeat them with the same Idempotency-Key.',
  ),
  E_IDEMPOTENCY_REUSED: entry(
    'reject',
    'The Idempotency-Key was used before for other content.',
    'Use a new key for new content.',
  ),
  E_UNAUTHORIZED: entry(
    'reject',
    'A valid bearer token is needed.',
    'Send `Authorization: Bearer …` with one of `http.tokens`.',
  ),
  E_NOT_REFRESHABLE: entry(
    'reject',
    'The records of {service} cannot be read again by themselves: {reason}.',
    'Send a change message of the service instead.',
  ),
  E_NOT_FOUND: entry('reject', '{what} is not there.', 'Check the name.'),
  // Configuration and commands
  E_CONFIG_INVALID: entry(
    'refuse',
    'The configuration has {count} problem(s).\n{problems}',
    'Mend them; `cachewright config check` shows them all.',
  ),
  E_CONFIG_UNREADABLE: entry(
    'refuse',
    'The configuration file {file} cannot be read: {reason}.',
    'Check the path and the syntax.',
  ),
  E_USAGE: entry('refuse', '{reason}', 'See `cachewright --help`.'),
  E_NOT_RUNNING: entry(
    'refuse',
    '{what} needs an instance that runs.',
    'Wait for `start()`, and do not call it after `close()`.',
  ),
  E_PORT_IN_USE: entry(
    'refuse',
    'The address {address} is in use.',
    'Stop what listens there, or choose another `http.port`.',
  ),
  E_HOST_UNPROTECTED: entry(
    'refuse',
    'The HTTP host {host} is not loopback and no `http.tokens` are set.',
    'Set tokens, or bind to 127.0.0.1.',
  ),
  E_UNREACHABLE: entry(
    'unreachable',
    '{what} cannot be reached: {reason}.',
    'Start it or correct its address; `cachewright doctor` looks at every dependency.',
  ),
  E_REDIS_POLICY: entry(
    'refuse',
    "The queue's Redis has maxmemory-policy {policy}; jobs could be evicted.",
    'Set `maxmemory-policy noeviction` on it.',
  ),
  E_AUDIT_STORE: entry(
    'retry',
    'The audit store failed: {reason}.',
    'Look at its disk and permissions; entries wait in Redis meanwhile.',
  ),
  E_AUDIT_BUSY: entry(
    'refuse',
    'Another process on this host writes {file}.',
    'Nothing: this process stands by, and takes over when the other one is gone.',
  ),
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof catalogue;
/** Whether this version knows a code that it read somewhere. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(catalogue, code);
}

export type ErrorDetails = Readonly<Record<string, unknown>>;

/** The one error class of the product; make it with {@link fail}. */
export class CachewrightError extends Error {
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, details: ErrorDetails, options?: ErrorOptions) {
    super(fill(catalogue[code].message, details), options);
    this.name = 'CachewrightError';
    this.code = code;
    this.details = details;
  }

  get outcome(): ErrorOutcome {
    return catalogue[this.code].outcome;
  }

  /** What a person does next. */
  get next(): string {
    return catalogue[this.code].next;
  }
}

/** Makes an error of the catalogue: `throw fail('E_FETCH_TIMEOUT', { service, timeoutMs }, { cause })`. */
export function fail(code: ErrorCode, details: ErrorDetails = {}, options?: ErrorOptions): CachewrightError {
  return new CachewrightError(code, details, options);
}

/** Any thrown thing as an error of the catalogue; what is not one becomes `E_UNEXPECTED` with its cause. */
export function asError(thrown: unknown): CachewrightError {
  if (thrown instanceof CachewrightError) return thrown;
  return fail('E_UNEXPECTED', { what: reasonOf(thrown) }, { cause: thrown });
}

/** A thrown thing in one line, without a stack. */
export function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return reasonOf(thrown.errors[0]);
  const code = 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : '';
  return thrown.message === '' ? code || thrown.name : thrown.message;
}

function fill(template: string, details: ErrorDetails): string {
  return template.replace(/\{(\w+)\}/g, (whole, name: string) =>
    name in details ? shorten(String(details[name]), name === 'problems' ? 100_000 : 500) : whole,
  );
}

function shorten(text: string, max: number): string {
  return text.length > max ? `${text.slice(0, max)}… (${text.length} characters)` : text;
}
