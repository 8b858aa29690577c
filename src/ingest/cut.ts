/** How large a chunk, one job, may become. */
export interface ChunkLimits {
  /** From 1,000 on the cost of a job is small beside its messages; each runs its messages through the machine together. */
  readonly maxChunkMessages: number;
  /** Bytes of keys, values and headers. A message larger than this makes a chunk of its own. */
  readonly maxChunkBytes: number;
}

/**
 * Cuts what arrived together into chunks, in order. The same items are always cut the same way, so that a repeated
 * hand-off finds its job ids again.
 *
 * @param sizeOf bytes of one item
 * @returns parts of `items`; none is empty
 */
export function cut<T>(items: readonly T[], sizeOf: (item: T) => number, limits: ChunkLimits): T[][] {
  const chunks: T[][] = [];
  let from = 0;
  let bytes = 0;
  for (const [at, item] of items.entries()) {
    const size = sizeOf(item);
    const isFull = at - from >= limits.maxChunkMessages || bytes + size > limits.maxChunkBytes;
    if (isFull && at > from) {
      chunks.push(items.slice(from, at));
      from = at;
      bytes = 0;
    }
    bytes += size;
  }
  if (from < items.length) chunks.push(items.slice(from));
  return chunks;
}
