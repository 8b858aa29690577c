import type { Redis } from 'ioredis';

/** Keys asked for in one MGET. */
const SLICE = 1_000;

/** How a service of the benchmark names its keys, and which field of the record is the version. */
export interface KeyRule {
  readonly prefix: string;
  readonly field: string;
}

export const PRODUCT_KEYS: KeyRule = { prefix: 'product_info_', field: 'modifiedTime' };
export const SHOP_KEYS: KeyRule = { prefix: 'shop_info_', field: 'version' };

/** The ids whose value in Redis is missing or not the newest. */
export async function staleIds(
  redis: Redis,
  newest: ReadonlyMap<number, number>,
  rule: KeyRule = PRODUCT_KEYS,
): Promise<number[]> {
  const ids = [...newest.keys()];
  const stale: number[] = [];
  for (let start = 0; start < ids.length; start += SLICE) {
    const slice = ids.slice(start, start + SLICE);
    const values = await redis.mget(slice.map((id) => rule.prefix + id));
    stale.push(...slice.filter((id, index) => versionOf(values[index], rule) !== newest.get(id)));
  }
  return stale;
}

/** A record's version; -1 when there is no record or it is not ours. */
export function versionOf(text: string | null | undefined, rule: KeyRule = PRODUCT_KEYS): number {
  if (text === null || text === undefined) return -1;
  const record: unknown = JSON.parse(text);
  if (typeof record !== 'object' || record === null) return -1;
  const version: unknown = Reflect.get(record, rule.field);
  return typeof version === 'number' ? version : -1;
}
