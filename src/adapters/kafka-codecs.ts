import { promisify } from 'node:util';
import { gunzip, gzip, zstdCompress, zstdDecompress } from 'node:zlib';
import kafkajs, { CompressionTypes } from 'kafkajs';
import { compressFrame, decompressFrame } from 'lz4-napi';
import { type CachewrightError, fail, reasonOf } from '../core/errors.ts';

// Node sees only some of kafkajs's CommonJS exports by name; the rest come through its default export.
const { CompressionCodecs, KafkaJSNonRetriableError } = kafkajs;

export type KafkaCodecName = 'gzip' | 'snappy' | 'lz4' | 'zstd';

/** How one compression of Kafka's record batches is undone, and done. */
export interface KafkaCodec {
  /** Rejects rather than unpack more than `maxBytes`: a few packed kilobytes can hold gigabytes. */
  unpack(packed: Buffer, maxBytes: number): Promise<Buffer>;
  /** Only needed to produce. */
  pack?(raw: Buffer): Promise<Buffer>;
}

const TYPES: Readonly<Record<KafkaCodecName, CompressionTypes>> = {
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
};

const gzipOf = promisify(gzip);
const gunzipOf = promisify<Buffer, { maxOutputLength: number }, Buffer>(gunzip);
const zstdOf = promisify<Buffer, Buffer>(zstdCompress);
const unzstdOf = promisify<Buffer, { maxOutputLength: number }, Buffer>(zstdDecompress);

const codecs = new Map<KafkaCodecName, KafkaCodec>([
  [
    'gzip',
    {
      unpack: (packed, maxOutputLength) => gunzipOf(packed, { maxOutputLength }),
      pack: (raw) => gzipOf(raw),
    },
  ],
  [
    'zstd',
    {
      unpack: (packed, maxOutputLength) => unzstdOf(packed, { maxOutputLength }),
      pack: (raw) => zstdOf(raw),
    },
  ],
  ['lz4', { unpack: unpackLz4, pack: (raw) => compressFrame(raw) }],
]);

/**
 * Sets the codec of one compression, for the whole process. gzip, lz4 and zstd are there from the start; snappy needs a
 * package of your choice:
 *
 * ```ts
 * registerKafkaCodec('snappy', { unpack: async (packed, maxBytes) => unpackXerialSnappy(packed, maxBytes) });
 * ```
 *
 * Kafka's snappy batches come in xerial framing (a 16-byte header and blocks), or, from librdkafka, as one bare block.
 */
export function registerKafkaCodec(name: KafkaCodecName, codec: KafkaCodec): void {
  codecs.set(name, codec);
}

/** Hands our codecs to kafkajs, whose own gzip has no bound and whose others are missing. */
export function installKafkaCodecs(maxUnpackedBytes: number): void {
  for (const [name, type] of Object.entries(TYPES)) {
    if (isCodecName(name))
      Object.assign(CompressionCodecs, { [type]: () => kafkaCodec(name, maxUnpackedBytes) });
  }
}

/** The part of kafkajs's encoder that holds what is to be packed. */
interface Encoded {
  readonly buffer: Buffer;
}

function kafkaCodec(name: KafkaCodecName, maxBytes: number) {
  const found = (): KafkaCodec => {
    const codec = codecs.get(name);
    if (codec === undefined) throw unreadable(fail('E_CODEC_MISSING', { codec: name }));
    return codec;
  };
  return {
    async compress({ buffer }: Encoded): Promise<Buffer> {
      const codec = found();
      if (codec.pack === undefined) throw unreadable(fail('E_CODEC_MISSING', { codec: name }));
      return codec.pack(buffer);
    },
    async decompress(packed: Buffer): Promise<Buffer> {
      const codec = found();
      try {
        const raw = await codec.unpack(packed, maxBytes);
        if (raw.length <= maxBytes) return raw;
      } catch (error) {
        if (!isTooLarge(error)) {
          throw unreadable(
            fail(
              'E_UNEXPECTED',
              { what: `a ${name} batch cannot be unpacked: ${reasonOf(error)}` },
              { cause: error },
            ),
          );
        }
      }
      throw unreadable(fail('E_BATCH_TOO_LARGE', { codec: name, max: maxBytes }));
    },
  };
}

/** Asking again would find the same bytes, so kafkajs is told not to; what is wrong is in the cause. */
function unreadable(cause: CachewrightError): Error {
  return Object.assign(new KafkaJSNonRetriableError(cause.message), { cause });
}

const LZ4_MAGIC = 0x18_4d_22_04;
const LZ4_BLOCK_BYTES: Readonly<Record<number, number>> = { 4: 1 << 16, 5: 1 << 18, 6: 1 << 20, 7: 1 << 22 };

async function unpackLz4(packed: Buffer, maxBytes: number): Promise<Buffer> {
  if (lz4Bound(packed) > maxBytes) throw fail('E_BATCH_TOO_LARGE', { codec: 'lz4', max: maxBytes });
  return decompressFrame(packed);
}

/**
 * The most an LZ4 frame can unpack to: its blocks times the block size it declares. The library has no bound of its own.
 *
 * @see https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md
 */
export function lz4Bound(packed: Buffer): number {
  if (packed.length < 7 || packed.readUInt32LE(0) !== LZ4_MAGIC) return 0; // no frame: the library says what is wrong
  const flags = packed.readUInt8(4);
  const blockBytes = LZ4_BLOCK_BYTES[(packed.readUInt8(5) >> 4) & 0x07] ?? 1 << 22;
  const hasBlockChecksums = (flags & 0x10) !== 0;
  let at = 7 + ((flags & 0x08) === 0 ? 0 : 8) + ((flags & 0x01) === 0 ? 0 : 4);
  let bound = 0;
  while (at + 4 <= packed.length) {
    const header = packed.readUInt32LE(at);
    if (header === 0) break; // end mark
    const size = header & 0x7f_ff_ff_ff;
    const isPlain = header >>> 31 === 1;
    bound += isPlain ? size : blockBytes;
    at += 4 + size + (hasBlockChecksums ? 4 : 0);
  }
  return bound;
}

function isTooLarge(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    (error.code === 'ERR_BUFFER_TOO_LARGE' || error.code === 'E_BATCH_TOO_LARGE')
  );
}

function isCodecName(name: string): name is KafkaCodecName {
  return name in TYPES;
}
