import { describe, expect, it } from 'vitest';
import { MARK_FORMAT } from '../../src/adapters/redis-mark-text.ts';
import { AUDIT_STORE_FORMAT } from '../../src/adapters/sqlite-audit-schema.ts';
import type { Message } from '../../src/core/change.ts';
import { CHUNK_FORMAT, chunkOf } from '../../src/core/chunk.ts';
import { decodeFence, encodeFence, type Fence, FENCE_FORMAT } from '../../src/core/fence.ts';
import { auditRecordOf, readAuditEntry } from '../../src/core/audit-records.ts';
import { type AuditEntry, AUDIT_FORMAT } from '../../src/core/trail.ts';
import { type StoredChunk, unpackChunk } from '../../src/core/packed-chunk.ts';
import { originalForm } from '../../src/core/service.ts';
import { DEAD_LETTER_FORMAT } from '../../src/core/dead-letter.ts';
import { createParse } from '../../src/pipeline/parse.ts';
import { type Resting, restOf, runsOfChunk } from '../../src/pipeline/runs-of-chunk.ts';
import { productionChart } from '../../src/testing/paths.ts';
import { golden, goldenFormats } from '../support/golden.ts';
import { aService } from '../support/service.ts';

/** Everything that outlives a process, with the newest format that this program writes. */
const KINDS = [
  ['chunk', CHUNK_FORMAT],
  ['job', CHUNK_FORMAT],
  ['fence', FENCE_FORMAT],
  ['mark', MARK_FORMAT],
  ['dead-letter', DEAD_LETTER_FORMAT],
  ['audit-entry', AUDIT_FORMAT],
  ['audit-store', AUDIT_STORE_FORMAT],
] as const;

describe('golden files', () => {
  it.each(KINDS)('of every format of a %s there ever was are kept', (kind, newest) => {
    expect(goldenFormats(kind), `write test/fixtures/formats/${kind}-${newest}`).toEqual(
      Array.from({ length: newest }, (_, index) => index + 1),
    );
  });
});

/** Between the time when one golden run is due and that when the other is. */
const NOW_MS = 1_769_853_605_000;

interface GoldenChunk {
  readonly name: string;
  readonly data: StoredChunk;
  readonly messages: readonly (Omit<Message, 'origin'> & {
    readonly place: string;
    readonly position: string;
    readonly state: string;
    readonly attempts: number;
    readonly sinceMs: number;
  })[];
  readonly resting: readonly Resting[];
}

const chunks = goldenFormats('chunk').flatMap((format) =>
  (golden('chunk', format) as { readonly chunks: readonly GoldenChunk[] }).chunks.map((chunk) => ({
    title: `format ${format}, ${chunk.name}`,
    ...chunk,
  })),
);

describe('a chunk that waits in the queue', () => {
  const clock = { now: () => NOW_MS, sleep: async () => undefined, random: () => 0 };
  const parse = createParse({
    services: new Map([['productInfoService', aService()]]),
    mappingOf: () => originalForm,
    limits: { maxMessageBytes: 1 << 20, maxDepth: 64 },
    clock,
  });

  it.each(chunks)('is taken up: $title', async ({ data, messages, resting }) => {
    const taken = await runsOfChunk(unpackChunk(data), productionChart(), parse, NOW_MS);
    expect(
      taken.runs.map(({ place, message: { origin, ...message }, state, attempts, sinceMs }) => {
        expect(origin).toMatchObject({ stream: data.stream, epoch: data.epoch });
        return { place, position: origin.position, ...message, state, attempts, sinceMs };
      }),
    ).toEqual(messages);
    expect(taken.resting).toEqual(resting);
  });

  const first = (golden('chunk', 1) as { readonly chunks: readonly GoldenChunk[] }).chunks;
  const plain = first.map(({ name, data }) => ({ name, data: unpackChunk(data) }));
  it.each(plain.filter(({ data }) => data.positions.length > 0))(
    'is written as ever: $name',
    async ({ data }) => {
      const origin = { stream: data.stream, epoch: data.epoch };
      const messages = data.positions.map((position, index) => ({
        origin: { ...origin, position },
        timestampMs: data.times[index] ?? 0,
        key: data.keys?.[index] ?? null,
        value: data.values[index] ?? null,
        headers: data.headers?.[index] ?? [],
      }));
      const { machine, redrive, parentExecutions, suspect = false, waiting } = data;
      const more = { redrive, parentExecutions, suspect, ...(waiting !== undefined && { waiting }) };
      expect(chunkOf(messages, machine, more)).toEqual(data);
    },
  );

  it('keeps what rests as it was when it is left waiting again', async () => {
    for (const { data: stored, resting } of chunks.filter((chunk) => chunk.resting.length > 0)) {
      const data = unpackChunk(stored);
      const rest = restOf(data, data.machine, [], resting);
      expect(Object.values(rest?.waiting ?? {})).toEqual(resting.map(({ waiting }) => waiting));
    }
  });
});

describe('a fence', () => {
  const fences = goldenFormats('fence').flatMap(
    (format) =>
      (golden('fence', format) as { readonly fences: readonly (Fence & { readonly text: string })[] }).fences,
  );

  it.each(fences)('is read and written as ever: $text', ({ text, ...fence }) => {
    expect(decodeFence(text)).toEqual(fence);
    expect(encodeFence(fence.kind, fence.version, fence.origin)).toBe(text);
  });
});

describe('an audit entry', () => {
  const entries = goldenFormats('audit-entry').flatMap(
    (format) =>
      (
        golden('audit-entry', format) as {
          readonly entries: readonly { name: string; entry: AuditEntry; records: readonly object[] }[];
        }
      ).entries,
  );

  it.each(entries)('that waits in the outbox is read: $name', ({ entry, records }) => {
    const read = readAuditEntry(JSON.stringify(entry));
    if (read.kind !== 'entry') throw new Error(`it is ${read.kind}`);
    const found = read.entry.rows.map((row) => {
      const record = auditRecordOf(read.entry, row);
      return { ...record, to: record.steps.map(({ to }) => to) };
    });
    expect(found).toEqual(records.map((record) => expect.objectContaining(record)));
  });
});
