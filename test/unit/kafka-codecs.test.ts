import { compressFrame } from 'lz4-napi';
import { describe, expect, it } from 'vitest';
import { lz4Bound } from '../../src/adapters/kafka-codecs.ts';
import { addressOf } from '../../src/adapters/kafka-zookeeper.ts';

describe('the bound of an LZ4 frame', () => {
  it.each([0, 1, 100, 65_536, 65_537, 1_000_000])(
    'is never below what it unpacks to: %i bytes',
    async (length) => {
      const bound = lz4Bound(await compressFrame(Buffer.alloc(length, 'a')));
      expect(bound).toBeGreaterThanOrEqual(length);
      expect(bound).toBeLessThan(length + 4_200_000);
    },
  );

  it('is none for what is no frame', () => {
    expect(lz4Bound(Buffer.from('hello, this is text'))).toBe(0);
  });
});

describe("a broker's registration in ZooKeeper", () => {
  const registered = JSON.stringify({
    listener_security_protocol_map: { INSIDE: 'PLAINTEXT', OUTSIDE: 'SASL_SSL' },
    endpoints: ['INSIDE://10.0.0.1:9092', 'OUTSIDE://kafka.example:9094'],
    host: '10.0.0.1',
    port: 9092,
  });

  it.each([
    ['PLAINTEXT', '10.0.0.1:9092'],
    ['SASL_SSL', 'kafka.example:9094'],
    ['SSL', undefined],
  ] as const)('gives the listener that fits: %s', (protocol, address) => {
    expect(addressOf(registered, protocol)).toBe(address);
  });

  it('may be of the old form', () => {
    expect(addressOf('{"host":"a","port":9092}', 'PLAINTEXT')).toBe('a:9092');
    expect(addressOf('{"host":"a","port":9092}', 'SSL')).toBeUndefined();
  });
});
