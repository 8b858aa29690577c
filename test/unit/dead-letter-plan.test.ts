import { describe, expect, it } from 'vitest';
import { messageAt } from '../../src/core/chunk.ts';
import { deadLetterTopicOf, letterId, type LetterHead, partOf } from '../../src/core/dead-letter.ts';
import type { DeadLetter, StoredLetter } from '../../src/core/ports.ts';
import { chunkOfLetters, planBatches } from '../../src/dead-letters/plan.ts';
import { groupLetters, isMeant } from '../../src/dead-letters/select.ts';
import { aLetter } from '../support/dead-letter.ts';

const stored = (letter: DeadLetter): StoredLetter => ({ id: letterId(letter), letter, redriving: null });
const headOf = (letter: DeadLetter): LetterHead => ({
  ...letter,
  letter: letterId(letter),
  bytes: 10,
  redriving: null,
});
const limits = { maxChunkMessages: 3, maxChunkBytes: 1_000 };
const messagesOf = (batches: readonly (readonly LetterHead[])[]): string[][] =>
  batches.map((batch) => batch.map(({ message }) => message));

describe('a plan of a redrive', () => {
  it('keeps streams, epochs and counts of redrives apart', () => {
    const heads = [
      aLetter(1),
      aLetter(2, { origin: { stream: 'changes-0', epoch: 1, position: '2' } }),
      aLetter(3, { redrive: 1 }),
      aLetter(4, { message: 'other-0@4', origin: { stream: 'other-0', epoch: 0, position: '4' } }),
    ].map(headOf);
    expect(messagesOf(planBatches(heads, limits))).toEqual([
      ['changes-0@1'],
      ['changes-0@2'],
      ['changes-0@3'],
      ['other-0@4'],
    ]);
  });

  it('follows the stream, keeps what is about one key together, and cuts by count', () => {
    const heads = [
      aLetter(100, { cacheKey: 'a' }),
      aLetter(20, { cacheKey: 'b' }),
      aLetter(9, { cacheKey: 'a' }),
      aLetter(21, { cacheKey: 'c' }),
      aLetter(22, { cacheKey: 'c' }),
    ].map(headOf);
    expect(messagesOf(planBatches(heads, limits))).toEqual([
      ['changes-0@9', 'changes-0@100', 'changes-0@20'],
      ['changes-0@21', 'changes-0@22'],
    ]);
    expect(messagesOf(planBatches(heads, { ...limits, maxChunkBytes: 20 }))).toEqual([
      ['changes-0@9', 'changes-0@100'],
      ['changes-0@20'],
      ['changes-0@21', 'changes-0@22'],
    ]);
  });

  it('makes the same chunk of the same letters in whatever order, and another of others', () => {
    const letters = [aLetter(10), aLetter(9)].map(stored);
    const chunk = chunkOfLetters(letters, 'm@1');
    expect(chunkOfLetters(letters.toReversed(), 'm@1')).toEqual(chunk);
    expect(chunk.id).toMatch(/^redrive\.1\.changes-0\.0\.9-10\.[0-9a-f]{12}$/);
    expect(chunk.name).toBe('changes-0 9–10 (redrive 1, 2)');
    expect(chunk.data).toMatchObject({ redrive: 1, positions: ['9', '10'], machine: 'm@1' });
    expect(chunk.data.waiting).toBeUndefined();
    expect(chunkOfLetters([stored(aLetter(9))], 'm@1').id).not.toBe(chunk.id);
    const again = [10, 9].map((position) => stored(aLetter(position, { redrive: 1 })));
    expect(chunkOfLetters(again, 'm@1').id).toMatch(/^redrive\.2\./);
  });

  it('names jobs as BullMQ allows, whatever the stream is called', () => {
    const origin = { stream: 'file:0a1b', epoch: 0, position: '7' };
    expect(chunkOfLetters([stored(aLetter(7, { message: 'file:0a1b@7', origin }))], 'm').id).not.toContain(
      ':',
    );
    expect(letterId({ message: 'file:0a1b@7', origin, redrive: 2 })).toBe('file_0a1b@7.0.2');
  });

  it('resumes a single change of a message, and reads the message anew where its first one is meant', () => {
    const value = '["a","b"]';
    const part = (index: number): StoredLetter =>
      stored(aLetter(5, { value, message: index === 0 ? 'changes-0@5' : `changes-0@5#${index}` }));
    expect(partOf(part(2).letter)).toBe(2);
    const single = chunkOfLetters([part(2), stored(aLetter(4))], 'm').data;
    expect(single.positions).toEqual(['4', '5']);
    expect(single.waiting).toMatchObject({ '1#2': { state: 'parsed', attempts: 0, dueMs: 0 } });
    expect(messageAt(single, 1).value).toBe(value);
    const two = chunkOfLetters([part(1), part(2)], 'm').data;
    expect([two.positions, Object.keys(two.waiting ?? {})]).toEqual([['5'], ['0#1', '0#2']]);
    const whole = chunkOfLetters([part(1), part(0)], 'm').data;
    expect([whole.positions, whole.waiting]).toEqual([['5'], undefined]);
  });
});

describe('a selection', () => {
  const letter = aLetter(17, { diedMs: 5_000 });

  it.each([
    ['all', {}, true],
    ['its message', { message: 'changes-0@17' }, true],
    ['a message whose id begins the same', { message: 'changes-0@1' }, false],
    ['its service', { service: 'shopInfoService' }, true],
    ['another service', { service: 'stockService' }, false],
    ['its id', { id: '17' }, true],
    ['another code', { code: 'E_FETCH_TIMEOUT' }, false],
    ['its code', { code: 'E_FETCH_FAILED' }, true],
    ['the time it died', { sinceMs: 5_000, untilMs: 5_000 }, true],
    ['later', { sinceMs: 5_001 }, false],
    ['earlier', { untilMs: 4_999 }, false],
  ])('of %s', (_, selection, isIt) => {
    expect(isMeant(letter, selection)).toBe(isIt);
  });

  it('of a message means all its changes, and one of them that alone', () => {
    const part = aLetter(17, { message: 'changes-0@17#1' });
    expect(isMeant(part, { message: 'changes-0@17' })).toBe(true);
    expect(isMeant(letter, { message: 'changes-0@17#1' })).toBe(false);
  });

  it('is grouped by service and error, the most frequent first', () => {
    const error = { code: 'E_VERSION_MISSING', message: '', next: '' };
    const heads = [
      aLetter(1, { diedMs: 30 }),
      aLetter(2, { diedMs: 10, error }),
      aLetter(3, { diedMs: 20, error }),
    ].map(headOf);
    expect(groupLetters(heads)).toEqual([
      { service: 'shopInfoService', code: 'E_VERSION_MISSING', count: 2, oldestMs: 10, newestMs: 20 },
      { service: 'shopInfoService', code: 'E_FETCH_FAILED', count: 1, oldestMs: 30, newestMs: 30 },
    ]);
  });
});

describe('the topic of a dead letter', () => {
  it.each([
    ['{topic}.dlq', 'orders-eu.v1-3', 'orders-eu.v1.dlq'],
    ['dead', 'orders-3', 'dead'],
    ['{topic}.dlq', 'http', undefined],
    ['{topic}.dlq', 'file:0a1b', undefined],
    ['dead', 'http', 'dead'],
  ])('by %s of stream %s is %s', (pattern, stream, topic) => {
    expect(deadLetterTopicOf(pattern, { stream })).toBe(topic);
  });
});
