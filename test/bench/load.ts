import { Kafka, logLevel, type Message, type Producer } from 'kafkajs';
import { patchIdleKafka } from '../../src/adapters/kafka-idle-patch.ts';

/** Bytes of one product message. */
export const MESSAGE_BYTES = 300;

/** Messages in one produce request: with 300 bytes each, below the broker's limit of 1 MB. */
const BATCH = 2_500;

/** Versions are times in the past, one millisecond apart: a service may refuse the future. */
const VERSIONS_START_BEFORE_MS = 7 * 24 * 3_600_000;

export interface LoadMessage {
  readonly id: number;
  readonly version: number;
  readonly text: string;
}

/** A fixed sequence of change messages, and what a cache must hold after it. */
export interface Load {
  readonly messages: number;
  readonly keys: number;
  at(index: number): LoadMessage;
  /** Id → newest version among the first `count` messages. */
  newest(count?: number): ReadonlyMap<number, number>;
}

/**
 * Product messages as the original sent them, padded to 300 bytes; versions rise with the index.
 *
 * @param ids `hashed`: spread over `1 … keys` by a hash of the index, so that some keys come twice in a short while;
 *   `inTurn`: every id once before one comes again
 */
export function productLoad(messages: number, keys: number, ids: 'hashed' | 'inTurn' = 'hashed'): Load {
  const firstVersion = Date.now() - VERSIONS_START_BEFORE_MS;
  const idAt = (index: number): number => 1 + ((ids === 'hashed' ? mix(index) : index) % keys);
  return loadOf(messages, keys, firstVersion, idAt, productText);
}

/** Thin messages: the record is to be fetched. */
export function shopLoad(messages: number, keys: number): Load {
  const idAt = (index: number): number => 1 + (mix(index) % keys);
  return loadOf(messages, keys, 0, idAt, (id) => `{"serviceId":"shopInfoService","id":${id}}`);
}

/** Every `every`-th message is taken from `second`. What counts as newest is that of `first`. */
export function mixedLoad(first: Load, second: Load, every: number): Load {
  const at = (index: number): LoadMessage => {
    const taken = Math.floor(index / every);
    return index % every === every - 1 ? second.at(taken) : first.at(index - taken);
  };
  return {
    messages: first.messages + second.messages,
    keys: first.keys,
    at,
    newest: () => first.newest(),
  };
}

function loadOf(
  messages: number,
  keys: number,
  firstVersion: number,
  idAt: (index: number) => number,
  textOf: (id: number, version: number) => string,
): Load {
  return {
    messages,
    keys,
    at(index) {
      const id = idAt(index);
      const version = firstVersion + index;
      return { id, version, text: textOf(id, version) };
    },
    newest(count = messages) {
      const versions = new Map<number, number>();
      for (let index = 0; index < count; index += 1) versions.set(idAt(index), firstVersion + index);
      return versions;
    },
  };
}

function productText(id: number, version: number): string {
  const head = `{"serviceId":"productInfoService","id":${id},"name":"iphone7","price":5599,"pictureList":"a.jpg,b.jpg","specification":"`;
  const tail = `","service":"one year","color":"red,white,black","size":"5.5","shopId":300,"modifiedTime":${version}}`;
  return `${head}${words((mix(id) ^ version) >>> 0, MESSAGE_BYTES - head.length - tail.length)}${tail}`;
}

const WORDS =
  'aluminium battery bright camera case charger classic colour cover display dual edition fast frame glass grip light lens limited matt memory metal micro modern night original panel premium ring scratch screen sensor silver slim smart soft sound speaker steel strap strong thin touch travel ultra video warm water wide wireless'.split(
    ' ',
  );

/** Text of exactly this length that differs from message to message, as specifications do: a repeated letter would pack to nothing. */
function words(seed: number, length: number): string {
  let text = '';
  for (let turn = seed; text.length < length; turn = mix(turn + 0x9e3779b9)) {
    text += `${WORDS[turn % WORDS.length] ?? ''} `;
  }
  return text.slice(0, Math.max(0, length));
}

/** MurmurHash3's finaliser: neighbouring integers come out far apart. */
function mix(value: number): number {
  let hash = value | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

export async function connectProducer(brokers: readonly string[]): Promise<Producer> {
  patchIdleKafka();
  const kafka = new Kafka({ clientId: 'bench-load', brokers: [...brokers], logLevel: logLevel.NOTHING });
  const producer = kafka.producer({ allowAutoTopicCreation: false });
  await producer.connect();
  return producer;
}

/** One id is always in one partition: the order of its versions is the order of the log. */
export function toKafka(message: LoadMessage, partitions: number): Message {
  return { key: String(message.id), value: message.text, partition: message.id % partitions };
}

/** Writes the whole load into a topic, acknowledged by all replicas, one request at a time. */
export async function produce(
  brokers: readonly string[],
  topic: string,
  partitions: number,
  load: Load,
): Promise<void> {
  const producer = await connectProducer(brokers);
  try {
    for (let start = 0; start < load.messages; start += BATCH) {
      const count = Math.min(BATCH, load.messages - start);
      const messages = Array.from({ length: count }, (_, offset) =>
        toKafka(load.at(start + offset), partitions),
      );
      await producer.send({ topic, messages, acks: -1 });
    }
  } finally {
    await producer.disconnect();
  }
}
