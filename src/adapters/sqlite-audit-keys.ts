/**
 * The key index of the audit store: which executions hold a row of a key, by the key's 32-bit hash (ADR 0005).
 *
 * Inserting each hash into a B-tree cost more than all the rest of a row. So an execution's hashes are kept as they come,
 * sorted, in one value; and when a segment is full it is merged, once, into sorted blocks that a query finds by two
 * look-ups.
 */
import type { DatabaseSync } from 'node:sqlite';

export const KEY_INDEX_TABLES = `
  -- Key index. The newest segment is open: per execution its sorted hashes (unsigned 32 bits, little endian).
  create table segments (id integer primary key, postings integer not null, executions integer not null, rows integer not null);
  insert into segments values (1, 0, 0, 0);
  create table open_keys (execution integer primary key, hashes blob not null);
  -- A full one is merged into blocks of pairs (hash, distance of the execution to base), sorted; first is the block's first hash.
  create table key_blocks (segment integer, number integer, first integer not null, base integer not null, pairs blob not null, primary key (segment, number)) without rowid;
  create index key_blocks_by_hash on key_blocks (segment, first);
`;

/** A query looks into every execution of the open segment, so there are not too many of them; and merging is one pause. */
const MAX_OPEN_POSTINGS = 250_000;
const MAX_OPEN_EXECUTIONS = 10_000;
const PAIRS_PER_BLOCK = 512;
/** Above the distance of two executions in one segment; a hash times this is still an exact number. */
const DISTANCES = 2 ** 20;

export interface KeyIndex {
  /** Within a transaction of the caller, executions in rising order. @param hashes sorted, neighbours may be equal */
  add(execution: number, hashes: Uint32Array, rows: number): void;
  /** Writes the counters; the last thing before the commit. */
  finish(): void;
}

/** The index as the file has it now; to be opened anew after a rollback. */
export function openKeyIndex(db: DatabaseSync): KeyIndex {
  const addOpen = db.prepare('insert into open_keys values (?, ?)');
  const addBlock = db.prepare('insert into key_blocks values (?, ?, ?, ?, ?)');
  const save = db.prepare(
    'insert into segments values (?1, ?2, ?3, ?4) on conflict (id) do update set postings = ?2, executions = ?3, rows = ?4',
  );
  const row = db
    .prepare('select id, postings, executions, rows from segments order by id desc limit 1')
    .get();
  const segment = {
    id: Number(row?.['id'] ?? 1),
    postings: Number(row?.['postings'] ?? 0),
    executions: Number(row?.['executions'] ?? 0),
    rows: Number(row?.['rows'] ?? 0),
  };

  const finish = (): void => {
    save.run(segment.id, segment.postings, segment.executions, segment.rows);
  };

  /** Sorted blocks instead of the open executions, and a new open segment. */
  const merge = (): void => {
    finish();
    const { base, pairs } = sortedPairs(db, segment.postings);
    for (let at = 0, number = 0; at < pairs.length; at += PAIRS_PER_BLOCK, number += 1) {
      const block = pairs.subarray(at, at + PAIRS_PER_BLOCK);
      addBlock.run(segment.id, number, Math.floor((block[0] ?? 0) / DISTANCES), base, packPairs(block));
    }
    db.exec('delete from open_keys');
    Object.assign(segment, { id: segment.id + 1, postings: 0, executions: 0, rows: 0 });
  };

  return {
    add(execution, hashes, rows) {
      if (segment.postings >= MAX_OPEN_POSTINGS || segment.executions >= MAX_OPEN_EXECUTIONS) merge();
      segment.rows += rows;
      segment.executions += 1;
      if (hashes.length === 0) return;
      addOpen.run(execution, new Uint8Array(hashes.buffer, hashes.byteOffset, hashes.byteLength));
      segment.postings += hashes.length;
    },
    finish,
  };
}

/** Executions that hold one of the hashes, newest first, each once. */
export function* executionsWith(db: DatabaseSync, hashes: readonly number[]): Generator<number> {
  const open = db.prepare('select execution, hashes from open_keys order by execution desc');
  for (const row of open.iterate()) {
    const held = wordsOf(row['hashes']);
    if (hashes.some((hash) => held[firstAtLeast(held, hash, 1)] === hash)) yield Number(row['execution']);
  }
  const newest = Number(db.prepare('select max(id) as id from segments').get()?.['id'] ?? 0);
  const blocks = db.prepare(
    'select first, base, pairs from key_blocks where segment = ? and first <= ? order by first desc, number desc',
  );
  for (let segment = newest - 1; segment > 0; segment -= 1) {
    const found = new Set<number>();
    for (const hash of hashes) {
      for (const row of blocks.iterate(segment, hash)) {
        const pairs = wordsOf(row['pairs']);
        for (let at = firstAtLeast(pairs, hash, 2); pairs[at] === hash; at += 2)
          found.add(Number(row['base']) + (pairs[at + 1] ?? 0));
        // A hash that a block begins with may have begun in the one before.
        if (Number(row['first']) < hash) break;
      }
    }
    yield* [...found].sort((a, b) => b - a);
  }
}

/** All of the open segment, as hash × {@link DISTANCES} + distance of the execution to `base`. */
function sortedPairs(db: DatabaseSync, postings: number): { base: number; pairs: Float64Array } {
  const pairs = new Float64Array(postings);
  let base = -1;
  let count = 0;
  for (const row of db.prepare('select execution, hashes from open_keys order by execution').iterate()) {
    const execution = Number(row['execution']);
    if (base === -1) base = execution;
    for (const hash of wordsOf(row['hashes'])) {
      pairs[count] = hash * DISTANCES + (execution - base);
      count += 1;
    }
  }
  return { base, pairs: pairs.subarray(0, count).sort() };
}

function packPairs(block: Float64Array): Uint8Array {
  const words = new Uint32Array(block.length * 2);
  block.forEach((pair, index) => {
    words[2 * index] = Math.floor(pair / DISTANCES);
    words[2 * index + 1] = pair % DISTANCES;
  });
  return new Uint8Array(words.buffer);
}

/** A copy: what SQLite hands out need not lie at a multiple of four. */
function wordsOf(blob: unknown): Uint32Array {
  return blob instanceof Uint8Array ? new Uint32Array(Uint8Array.from(blob).buffer) : new Uint32Array();
}

/** Index of the first hash that is not below `hash`, in rows of `stride` words that begin with one. */
function firstAtLeast(words: Uint32Array, hash: number, stride: number): number {
  let low = 0;
  let high = words.length / stride;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((words[middle * stride] ?? 0) < hash) low = middle + 1;
    else high = middle;
  }
  return low * stride;
}
