/** Requests and answers of the record routes, as schemas: what is refused, and what an OpenAPI document can follow. */
import { z } from 'zod';

/** Ids of one request at most. */
export const MAX_IDS = 1_000;

const id = z
  .union([z.string().min(1), z.int()], {
    error: 'an id is a non-empty text or a whole number that is exact; send larger ones as text',
  })
  .transform(String);

const ids = z.array(id).min(1).max(MAX_IDS);

/** `POST /v1/records/:service` */
export const recordsRequest = z.strictObject({ ids });

/** `POST /v1/records/:service/refresh` and `…/evict` */
export const adminRequest = z.strictObject({
  ids,
  /** Stands in the ids of the messages that it makes, and so in every trail. */
  reason: z.string().trim().min(1).max(200).optional(),
});

const found = z.strictObject({
  id: z.string(),
  cache: z.enum(['local', 'redis', 'source', 'stale']),
  /** `kind:digits`; '' when none is known. */
  version: z.string(),
  etag: z.string(),
  /** Since this instance took it, milliseconds; null from Redis, which does not tell. */
  ageMs: z.number().nullable(),
  /** The record, byte for byte. */
  value: z.unknown(),
});

const absent = z.strictObject({ id: z.string(), cache: z.literal('negative'), value: z.null() });

const failed = z.strictObject({
  id: z.string(),
  error: z.strictObject({ code: z.string(), detail: z.string(), next: z.string() }),
});

/** In the order of the ids that were asked for. */
export const recordsAnswer = z.strictObject({ records: z.array(z.union([found, absent, failed])) });

export const adminAnswer = z.strictObject({ messages: z.array(z.string()), durability: z.string() });
