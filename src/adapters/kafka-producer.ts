import { Partitioners } from 'kafkajs';
import {
  createKafkaClient,
  describeBrokers,
  type KafkaConnectionOptions,
  kafkaFault,
} from './kafka-connection.ts';

/** A message to publish. Messages of one key go to one partition. */
export interface MessageToPublish {
  readonly key?: string | Buffer | null;
  /** Null: a tombstone. */
  readonly value: string | Buffer | null;
  /** Several of one name as a list. */
  readonly headers?: Readonly<Record<string, string | Buffer | (string | Buffer)[]>>;
  /** Epoch milliseconds; the moment of sending when left out. */
  readonly timestampMs?: number;
}

/** Where the messages of one partition went: the first has `baseOffset`, the others follow it. */
export interface Published {
  readonly topic: string;
  readonly partition: number;
  readonly baseOffset: string;
  /** Which of the messages these are, by their index in the call, in order. */
  readonly indexes: readonly number[];
}

export interface KafkaProducer {
  /** Resolves when all in-sync replicas have the messages. @throws `E_TOPIC_MISSING`, `E_KAFKA_AUTH`, `E_UNREACHABLE` */
  send(topic: string, messages: readonly MessageToPublish[]): Promise<Published[]>;
  close(): Promise<void>;
}

/**
 * An idempotent producer: the broker drops what a retry sends twice. Connects with the first send.
 */
export function createKafkaProducer(options: KafkaConnectionOptions): KafkaProducer {
  // kafkajs tells where the first message of a partition went, and not which messages went there.
  const partitions = new WeakMap<object, number>();
  const producer = createKafkaClient(options).producer({
    idempotent: true,
    // Idempotence needs order; kafkajs keeps it with one request at a time only.
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
    createPartitioner: () => {
      const choose = Partitioners.DefaultPartitioner();
      return (given) => {
        const partition = choose(given);
        partitions.set(given.message, partition);
        return partition;
      };
    },
  });
  let connected: Promise<void> | undefined;
  const connect = async (): Promise<void> => {
    connected ??= producer.connect();
    try {
      await connected;
    } catch (error) {
      connected = undefined;
      throw error;
    }
  };

  return {
    async send(topic, messages) {
      try {
        await connect();
        const sent = messages.map(toKafka);
        const records = await producer.send({ topic, acks: -1, messages: sent });
        return records.map(({ partition, baseOffset }) => ({
          topic,
          partition,
          baseOffset: baseOffset ?? '',
          indexes: sent.flatMap((message, index) => (partitions.get(message) === partition ? [index] : [])),
        }));
      } catch (error) {
        throw kafkaFault(error, { brokers: describeBrokers(options), topics: topic });
      }
    },
    async close() {
      if (connected !== undefined) await producer.disconnect();
    },
  };
}

function toKafka({ key = null, value, headers = {}, timestampMs }: MessageToPublish) {
  return {
    key: typeof key === 'string' ? Buffer.from(key) : key,
    value: typeof value === 'string' ? Buffer.from(value) : value,
    headers: { ...headers },
    ...(timestampMs !== undefined && { timestamp: String(timestampMs) }),
  };
}
