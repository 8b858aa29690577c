import { isUtf8 } from 'node:buffer';
import { describe, expect, it } from 'vitest';
import { type Message, toBytes } from '../../src/core/change.ts';
import { compileKeyTemplate } from '../../src/core/key.ts';
import { originalForm, type Service, type TopicMapping } from '../../src/core/service.ts';
import { formatVersion } from '../../src/core/version.ts';
import { createParse } from '../../src/pipeline/parse.ts';
import {
  badMessageLimits,
  badMessageServices,
  badMessages,
  badMessageTopics,
  type BadMessage,
} from '../support/bad-messages.ts';
import { aService } from '../support/service.ts';

const TIMESTAMP_MS = 1_704_067_200_000;

const services = new Map(
  Object.entries(badMessageServices).map(([id, { key, version }]): [string, Service] => [
    id,
    aService({
      id,
      keyOf: compileKeyTemplate(key),
      version: {
        from: version.from,
        path: [version.field],
        kind: version.kind,
        missing: 'missing' in version ? version.missing : 'reject',
        maxAheadMs: 300_000,
        timezone: undefined,
      },
    }),
  ]),
);
const tombstones: TopicMapping = { ...originalForm, ...badMessageTopics.tombstones };

const parse = createParse({
  services,
  mappingOf: (stream) => (stream === 'tombstones-0' ? tombstones : originalForm),
  limits: badMessageLimits,
  clock: { now: () => TIMESTAMP_MS + 1_000, sleep: async () => undefined, random: () => 0 },
});

function messageOf({ topic, key, value }: BadMessage): Message {
  const bytes = (raw: string | Buffer | null | undefined) =>
    raw === null || raw === undefined ? null : toBytes(Buffer.from(raw), isUtf8);
  return {
    origin: { stream: topic === undefined ? 'original-0' : `${topic}-0`, epoch: 0, position: '17' },
    timestampMs: TIMESTAMP_MS,
    key: bytes(key),
    value: bytes(value),
    headers: [],
  };
}

const good: BadMessage = {
  name: 'a good message',
  value: '{"serviceId":"stockService","id":1,"version":7}',
  expect: { key: 'stock_1', version: 'counter:7' },
};

/** What became of a message, in the words of the table. */
async function outcomeOf(bad: BadMessage): Promise<BadMessage['expect']> {
  const result = await parse(messageOf(bad));
  if (result.kind === 'rejected') return { code: result.error.code };
  const [change] = result.kind === 'changes' ? result.changes : [];
  if (change === undefined) throw new Error('the message was ignored');
  const text = change.version === undefined ? 'none' : formatVersion(change.version);
  const version = text === `time:${TIMESTAMP_MS}000000` ? 'timestamp' : text;
  return { key: change.key, version, ...(change.op === 'delete' && { op: 'delete' }) };
}

describe('bad and odd messages', () => {
  it('are told apart by at least forty cases, each with a name of its own', () => {
    expect(new Set(badMessages.map(({ name }) => name)).size).toBe(badMessages.length);
    expect(badMessages.length).toBeGreaterThanOrEqual(40);
  });

  describe.each(badMessages)('$name', (bad) => {
    it('ends as the table says, and the next good message flows', async () => {
      expect(await outcomeOf(bad)).toEqual(bad.expect);
      expect(await outcomeOf(good)).toEqual(good.expect);
    });

    it('is rejected for good, not retried, when it is refused', async () => {
      const result = await parse(messageOf(bad));
      expect(result.kind === 'rejected' ? result.error.outcome : 'reject').toBe('reject');
      expect(result.kind === 'rejected' ? result.error.message : '').not.toMatch(/\{\w+\}/);
    });
  });

  it('leave the prototypes of the process alone', async () => {
    for (const bad of badMessages) await parse(messageOf(bad));
    expect(Object.keys(Object.prototype)).toEqual([]);
    expect('isAdmin' in {}).toBe(false);
  });
});
