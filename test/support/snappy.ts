import type { KafkaCodec } from '../../src/adapters/kafka-codecs.ts';

/** A codec as a user would register it: Kafka's snappy in xerial framing, read only. */
export const snappyCodec: KafkaCodec = {
  async unpack(packed, maxBytes) {
    if (packed.subarray(1, 7).toString('latin1') !== 'SNAPPY') return unpackBlock(packed, maxBytes);
    const blocks: Buffer[] = [];
    for (let at = 16; at + 4 <= packed.length; ) {
      const size = packed.readUInt32BE(at);
      blocks.push(unpackBlock(packed.subarray(at + 4, at + 4 + size), maxBytes));
      at += 4 + size;
    }
    return Promise.resolve(Buffer.concat(blocks));
  },
};

/** @see https://github.com/google/snappy/blob/main/format_description.txt */
function unpackBlock(packed: Buffer, maxBytes: number): Buffer {
  let at = 0;
  const byte = (): number => packed.readUInt8(at++);
  let length = 0;
  for (let shift = 0; ; shift += 7) {
    const next = byte();
    length |= (next & 0x7f) << shift;
    if (next < 0x80) break;
  }
  if (length > maxBytes) throw new Error('larger than allowed');
  const out = Buffer.alloc(length);
  let to = 0;
  const little = (bytes: number): number => {
    const value = packed.readUIntLE(at, bytes);
    at += bytes;
    return value;
  };
  while (at < packed.length) {
    const tag = byte();
    const kind = tag & 0x03;
    if (kind === 0) {
      const size = (tag >> 2 < 60 ? tag >> 2 : little((tag >> 2) - 59)) + 1;
      packed.copy(out, to, at, at + size);
      at += size;
      to += size;
      continue;
    }
    const size = kind === 1 ? ((tag >> 2) & 0x07) + 4 : (tag >> 2) + 1;
    const back = kind === 1 ? ((tag >> 5) << 8) | byte() : little(kind === 2 ? 2 : 4);
    for (let left = size; left > 0; left -= 1, to += 1) out[to] = out[to - back] ?? 0;
  }
  return out;
}
