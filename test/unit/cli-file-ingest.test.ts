import { describe, expect, it } from 'vitest';
import { createMemoryMarks } from '../../src/adapters/memory-marks.ts';
import { createFileIngest, type FileIngestCall } from '../../src/cli/file-ingest.ts';
import type { Input } from '../../src/cli/input.ts';
import { messageId } from '../../src/core/change.ts';
import { systemClock } from '../../src/core/clock.ts';
import { fail } from '../../src/core/errors.ts';
import type { Submit } from '../../src/ingest/submit.ts';

function anInput(lines: number): Input {
  const text = Array.from({ length: lines }, (_, index) => `{"line":${index + 1}}\n`).join('');
  return {
    stream: 'file:abc',
    bytes: text.length,
    read: async function* () {
      yield Buffer.from(text);
    },
    close: async () => undefined,
  };
}

/** An ingest whose queue is a list, with batches of ten lines. */
function aBench(options: { submit?: Submit } = {}) {
  const queue: { prefix: string; ids: string[] }[] = [];
  let reason = '';
  const submit: Submit = async (messages, { idPrefix }) => {
    const ids = messages.map(({ origin }) => messageId(origin));
    queue.push({ prefix: idPrefix, ids });
    return ids;
  };
  const ingest = createFileIngest({
    marks: createMemoryMarks(),
    submit: options.submit ?? submit,
    backPressure: { reason: async () => reason },
    limits: { maxChunkMessages: 10, maxChunkBytes: 1_000_000 },
    clock: { ...systemClock(), sleep: async () => void (reason = '') },
  });
  const call = (more: Partial<FileIngestCall> = {}): FileIngestCall => ({
    again: false,
    signal: new AbortController().signal,
    onProgress: () => undefined,
    onWait: () => undefined,
    ...more,
  });
  return { ingest, call, queue, submit, fill: (why: string) => void (reason = why) };
}

describe('a file in the queue', () => {
  it('is handed over in batches, each line under its own id', async () => {
    const { ingest, call, queue } = aBench();
    const report = await ingest(anInput(25), call());
    expect(report).toEqual({ end: 'done', messages: 25, isResumed: false, skippedTo: 0, epoch: 0 });
    expect(queue.map(({ ids }) => ids.length)).toEqual([10, 10, 5]);
    expect(queue.flatMap(({ ids }) => ids).at(-1)).toBe('file:abc@25');
  });

  it('does nothing the second time', async () => {
    const { ingest, call, queue } = aBench();
    await ingest(anInput(25), call());
    expect(await ingest(anInput(25), call())).toMatchObject({ end: 'known', messages: 0, skippedTo: 25 });
    expect(queue).toHaveLength(3);
  });

  it('is repeated under a new epoch when asked to', async () => {
    const { ingest, call, queue } = aBench();
    await ingest(anInput(5), call());
    expect(await ingest(anInput(5), call({ again: true }))).toMatchObject({
      end: 'done',
      messages: 5,
      epoch: 1,
    });
    expect(await ingest(anInput(5), call({ again: true }))).toMatchObject({
      end: 'done',
      messages: 5,
      epoch: 2,
    });
    expect(new Set(queue.map(({ prefix }) => prefix)).size).toBe(3);
  });

  it('goes on after an interrupt where it stopped', async () => {
    const { ingest, call, queue } = aBench();
    const interrupt = new AbortController();
    const first = await ingest(
      anInput(35),
      call({ signal: interrupt.signal, onProgress: ({ messages }) => messages === 20 && interrupt.abort() }),
    );
    expect(first).toMatchObject({ end: 'interrupted', messages: 20 });
    expect(await ingest(anInput(35), call())).toMatchObject({
      end: 'done',
      messages: 15,
      isResumed: true,
      skippedTo: 20,
    });
    const ids = queue.flatMap((batch) => batch.ids);
    expect(ids).toHaveLength(35);
    expect(new Set(ids).size).toBe(35);
  });

  it('sends a batch again with the same ids while the queue does not confirm it', async () => {
    const seen: string[][] = [];
    const { ingest, call } = aBench({
      submit: async (messages, { idPrefix }) => {
        seen.push([idPrefix, ...messages.map(({ origin }) => messageId(origin))]);
        if (seen.length < 3) throw fail('E_ENQUEUE_FAILED', { reason: 'the connection was lost' });
        return [];
      },
    });
    expect(await ingest(anInput(3), call())).toMatchObject({ end: 'done', messages: 3 });
    expect(seen).toHaveLength(3);
    expect(new Set(seen.map((ids) => ids.join()))).toHaveLength(1);
  });

  it('gives up when the queue never confirms, and can be resumed', async () => {
    let isDown = true;
    const { ingest, call } = aBench({
      submit: async () => {
        if (isDown) throw fail('E_ENQUEUE_FAILED', { reason: 'Redis is away' });
        return [];
      },
    });
    await expect(ingest(anInput(3), call())).rejects.toMatchObject({ code: 'E_ENQUEUE_FAILED' });
    isDown = false;
    expect(await ingest(anInput(3), call())).toMatchObject({ end: 'done', messages: 3 });
  });

  it('waits while the queue is full, and says why once', async () => {
    const { ingest, call, fill } = aBench();
    const waits: string[] = [];
    fill('queue jobs 2001 > 2000');
    await ingest(anInput(3), call({ onWait: (reason) => void waits.push(reason) }));
    expect(waits).toEqual(['queue jobs 2001 > 2000']);
  });
});
