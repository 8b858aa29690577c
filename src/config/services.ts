import { z } from 'zod';
import { checkKeyTemplate } from '../core/key.ts';
import type { StandardSchema } from '../core/schema.ts';
import {
  checkedText,
  decimal,
  duration,
  integer,
  maybe,
  oneOf,
  optionMeta,
  section,
  yesOrNo,
} from './option.ts';
import { isPlainObject } from './shape.ts';
import { source } from './sources.ts';
import { version } from './version-setting.ts';

/** A JSON Schema as it stands in a file. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** A schema of the user's: one that runs (zod, valibot, arktype …), or a JSON Schema to be compiled. */
export type SchemaConfig =
  | { readonly kind: 'standard'; readonly schema: StandardSchema }
  | { readonly kind: 'json'; readonly schema: JsonSchema };

const SCHEMA =
  'a Standard Schema (zod, valibot, arktype …), a JSON Schema, or the path of a JSON Schema file';

/** The path of a file never arrives here: it is read before. */
const schemaSetting = (doc: string): z.ZodType<SchemaConfig, StandardSchema | JsonSchema | string> => {
  const given = z.custom<StandardSchema | JsonSchema | string>(
    (value) => isStandardSchema(value) || isPlainObject(value),
  );
  const toConfig = (value: StandardSchema | JsonSchema | string): SchemaConfig => {
    if (isStandardSchema(value)) return { kind: 'standard', schema: value };
    return { kind: 'json', schema: typeof value === 'string' ? {} : value };
  };
  return given
    .transform(toConfig)
    .register(optionMeta, { doc, allowed: SCHEMA, textAs: 'text', isJsonFile: true });
};

function isStandardSchema(value: unknown): value is StandardSchema {
  return (
    ((typeof value === 'object' && value !== null) || typeof value === 'function') && '~standard' in value
  );
}

const retry = section(
  {
    attempts: integer(
      { min: 1, max: 1_000 },
      'Failed attempts after which a run gives up and becomes a dead letter. Waiting for an open breaker or a rate limit is no attempt.',
    ).default(5),
    initialMs: duration('1ms', '1h', 'Wait after the first failure.').prefault('500ms'),
    factor: decimal(1, 10, 'Each wait is this many times the one before.').default(2),
    maxMs: duration('1ms', '1d', 'No wait is longer.').prefault('60s'),
    jitter: decimal(
      0,
      1,
      'Share by which a wait may stray from its step, so that a thousand runs do not come back at one instant.',
    ).default(0.2),
    horizonMs: duration(
      '1s',
      '30d',
      'The longest a run may wait in all, attempts and free waits together; then it becomes a dead letter.',
    ).prefault('1h'),
  },
  'What happens after a failure that may pass.',
);

const read = section(
  {
    fromSource: yesOrNo(
      'Whether a record that neither tier has is read from the source, once per fleet, and kept in both. Off: only change messages fill the caches. Records of inline services come with their messages only.',
    ).default(true),
    staleWhileRevalidateMs: duration(
      '0ms',
      '30d',
      'For so long after its time to live a local entry still answers, marked `stale`, while it is read again in the background. Longer: no reader waits, and answers may be as old as that.',
    ).prefault('0ms'),
    failSafeMs: duration(
      '0ms',
      '30d',
      'For so long after its time to live a local entry answers, marked `stale`, when it cannot be read again because Redis or the source is down. 0: the reader gets the error.',
    ).prefault('0ms'),
    negativeTtlMs: duration(
      '0ms',
      '1h',
      'How long it is remembered that a record is absent, so that asking for it again costs the source nothing. Any version of the record ends that at once.',
    ).prefault('5s'),
  },
  'How records are read.',
);

const service = section(
  {
    source: source,
    key: checkedText(
      'The cache key: fixed text with `{id}`, such as `product_info_{id}`. Two services must not be able to make the same key; a separator that ids never hold, such as ":", keeps them apart.',
      'a key template such as product_info_{id}',
      checkKeyTemplate,
    ),
    version,
    message: maybe(schemaSetting('What a change message has to look like; one that does not is rejected.')),
    record: maybe(
      schemaSetting(
        'What a record has to look like. One that does not never reaches a cache: the cached value stays and the run is retried. If the schema transforms, its result is stored, else the bytes as they came.',
      ),
    ),
    retry: retry.prefault({}),
    ttlMs: duration(
      '0ms',
      '3650d',
      'Time to live of values in Redis; 0: none, as in the original. With one, Redis does more work per write.',
    ).prefault(0),
    ttlJitter: decimal(
      0,
      1,
      'Share of `ttlMs` by which values may expire earlier, so that what was written together does not expire together.',
    ).default(0.1),
    fenceTtlMs: maybe(
      duration(
        '0ms',
        '3650d',
        "How long the fence outlives its value, and how long the tombstone of a deleted key is kept; 0: for ever. It has to cover the oldest message that may come again (Kafka's retention, a redrive): an older write would win after it. Default: 7 days when `ttlMs` is set, else for ever.",
      ),
    ),
    local: section(
      {
        ttlMs: maybe(
          duration(
            '1ms',
            '30d',
            "Time to live in the local tiers of this service's records. Default: `local.ttlMs`.",
          ),
        ),
        onChange: oneOf(
          ['refresh', 'drop'],
          'What an instance does when another one writes a record that it holds: read it from Redis at once, never from the source, or drop it, so that the next reader does. `refresh` costs Redis a read per change and instance that holds it.',
        ).default('refresh'),
      },
      'The local tiers.',
    ).prefault({}),
    read: read.prefault({}),
  },
  'A service: its source, its keys and its versions.',
);

const SERVICE_ID =
  'a service id: letters, digits, ".", "_", ":" and "-", at most 100, the first a letter or digit';

export const services = z.record(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$/, SERVICE_ID), service);
