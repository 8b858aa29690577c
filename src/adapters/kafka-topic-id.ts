/**
 * Kafka's topic ids. A topic that was deleted and made again has the same name and other content; its id tells. kafkajs
 * speaks no version of the Metadata request that carries ids, so this speaks version 10 over a connection of kafkajs.
 *
 * @see KIP-516, Topic Identifiers (brokers from 2.8 on)
 */
import { createRequire } from 'node:module';
import type { Kafka } from 'kafkajs';

const METADATA = 3;
const VERSION = 10;
const NO_ID = '00000000000000000000000000000000';

/** The parts of kafkajs that it does not export. */
interface Cluster {
  readonly brokerPool: { findConnectedBroker(): Promise<Broker> };
  connect(): Promise<void>;
  disconnect(): Promise<void>;
}
interface Broker {
  readonly versions: Readonly<Record<number, { readonly maxVersion: number } | undefined>> | null;
  readonly connectionPool: { send(call: object): Promise<ReadonlyMap<string, string>> };
}
interface Encoder {
  writeBufferInternal(bytes: Buffer): void;
}
type CreateCluster = (options: { allowAutoTopicCreation: boolean }) => Cluster;

export interface TopicIds {
  /** Hexadecimal ids by topic; a topic is missing when the brokers name none, or it does not exist. */
  fetch(topics: readonly string[]): Promise<ReadonlyMap<string, string>>;
  close(): Promise<void>;
}

/** Asks over connections of its own, opened by the first question. */
export function createTopicIds(kafka: Kafka): TopicIds {
  const cluster = clusterOf(kafka);
  return {
    async fetch(topics) {
      if (cluster === undefined) return new Map();
      await cluster.connect();
      const broker = await cluster.brokerPool.findConnectedBroker();
      if ((broker.versions?.[METADATA]?.maxVersion ?? 0) < VERSION) return new Map();
      return broker.connectionPool.send({
        request: {
          apiKey: METADATA,
          apiVersion: VERSION,
          apiName: 'Metadata',
          encode: () => Promise.resolve(encode(topics)),
        },
        response: {
          decode: (payload: Buffer) => Promise.resolve(decode(payload)),
          parse: (ids: unknown) => Promise.resolve(ids),
        },
      });
    },
    async close() {
      await cluster?.disconnect();
    },
  };
}

function clusterOf(kafka: Kafka): Cluster | undefined {
  const key = Object.getOwnPropertySymbols(kafka).find(
    ({ description }) => description === 'private:Kafka:createCluster',
  );
  if (key === undefined) return undefined;
  const create: CreateCluster | undefined = Reflect.get(kafka, key);
  return create?.({ allowAutoTopicCreation: false });
}

/** The body, with the header's tagged fields (none) before it: kafkajs writes headers without them. */
function encode(topics: readonly string[]): Encoder {
  const EncoderClass: new () => Encoder = createRequire(import.meta.url)('kafkajs/src/protocol/encoder');
  const encoder = new EncoderClass();
  const parts = [Buffer.from([0]), varint(topics.length + 1)];
  for (const topic of topics) {
    const name = Buffer.from(topic, 'utf8');
    parts.push(Buffer.alloc(16), varint(name.length + 1), name, Buffer.from([0]));
  }
  // No automatic creation, no authorised operations of cluster or topics, no tagged fields.
  parts.push(Buffer.from([0, 0, 0, 0]));
  encoder.writeBufferInternal(Buffer.concat(parts));
  return encoder;
}

/** Reads as far as the ids. */
function decode(payload: Buffer): ReadonlyMap<string, string> {
  const reader = new Reader(payload);
  reader.skipTags();
  reader.skip(4); // throttle
  for (let brokers = reader.count(); brokers > 0; brokers -= 1) {
    reader.skip(4); // node id
    reader.text(); // host
    reader.skip(4); // port
    reader.text(); // rack
    reader.skipTags();
  }
  reader.text(); // cluster id
  reader.skip(4); // controller
  const ids = new Map<string, string>();
  for (let topics = reader.count(); topics > 0; topics -= 1) {
    reader.skip(2); // error: the id is then all zeros
    const name = reader.text();
    const id = reader.bytes(16).toString('hex');
    if (id !== NO_ID) ids.set(name, id);
    reader.skip(1); // internal
    for (let partitions = reader.count(); partitions > 0; partitions -= 1) skipPartition(reader);
    reader.skip(4); // authorised operations
    reader.skipTags();
  }
  return ids;
}

function skipPartition(reader: Reader): void {
  reader.skip(2 + 4 + 4 + 4); // error, partition, leader, leader epoch
  for (const _list of ['replicas', 'in-sync replicas', 'offline replicas']) reader.skip(4 * reader.count());
  reader.skipTags();
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** Reads Kafka's compact encodings (KIP-482). */
class Reader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  skip(bytes: number): void {
    this.#at += bytes;
  }

  bytes(length: number): Buffer {
    this.#at += length;
    return this.#buffer.subarray(this.#at - length, this.#at);
  }

  varint(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#buffer.readUInt8(this.#at);
      this.#at += 1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  /** Length of a compact array; null counts as empty. */
  count(): number {
    return Math.max(0, this.varint() - 1);
  }

  /** A compact string; null counts as empty. */
  text(): string {
    return this.bytes(this.count()).toString('utf8');
  }

  skipTags(): void {
    for (let tags = this.varint(); tags > 0; tags -= 1) {
      this.varint();
      this.skip(this.varint());
    }
  }
}
