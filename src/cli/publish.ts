import { createKafkaProducer, type KafkaProducer, type Published } from '../adapters/kafka-producer.ts';
import { kafkaConnection } from '../app/kafka-connection.ts';
import { type Bytes, messageId, toBuffer } from '../core/change.ts';
import { fail } from '../core/errors.ts';
import type { GlobalOptions, Run } from './command.ts';
import { bytesOf, linesOf } from './lines.ts';
import { EXIT, print, say } from './output.ts';
import { silentLog } from './silent-log.ts';
import { loadSettings } from './settings.ts';
import { topicOf } from './topics.ts';

interface PublishOptions {
  readonly file?: string;
  readonly topic?: string;
  readonly key?: string;
}

/** Messages and bytes of one request; brokers take 1 MiB by default. */
const MAX_MESSAGES = 500;
const MAX_BYTES = 512 * 1024;

/** `cachewright publish`: sends messages to Kafka byte for byte, good or bad, and prints their ids. */
export const publishCommand: Run<PublishOptions> = async (options, [text]) => {
  if (text !== undefined && text !== '-' && options.file !== undefined) {
    throw fail('E_USAGE', { reason: 'Give a message or --file, not both.' });
  }
  const { config } = await loadSettings(options);
  const { kafka } = config;
  if (kafka === undefined)
    throw fail('E_USAGE', { reason: 'The configuration has no `kafka` to publish to.' });
  const topic = topicOf(config, options.topic) ?? '';
  const producer = createKafkaProducer(kafkaConnection(kafka, silentLog));
  const send = async (messages: readonly Bytes[]): Promise<number> => {
    const ids = await publish(producer, topic, messages, options.key ?? null);
    for (const id of ids) printId(id, options);
    return ids.length;
  };
  let count = 0;
  try {
    if (text !== undefined && text !== '-') count += await send([text]);
    else for await (const batch of batchesOf(options.file ?? '-')) count += await send(batch);
  } finally {
    await producer.close();
  }
  say(`${count} message(s) in ${topic}`, options.quiet);
  return EXIT.ok;
};

function printId(id: string, { json }: GlobalOptions): void {
  print(json ? JSON.stringify({ message: id }) : id);
}

async function publish(
  producer: KafkaProducer,
  topic: string,
  messages: readonly Bytes[],
  key: string | null,
): Promise<string[]> {
  const published = await producer.send(
    topic,
    messages.map((message) => ({ key, value: toBuffer(message) })),
  );
  return idsOf(published, messages.length);
}

/** The messages' ids, in the order of the messages. */
function idsOf(published: readonly Published[], count: number): string[] {
  const ids = Array.from({ length: count }, () => '');
  for (const { topic, partition, baseOffset, indexes } of published) {
    indexes.forEach((index, place) => {
      const position = String(BigInt(baseOffset) + BigInt(place));
      ids[index] = messageId({ stream: `${topic}-${partition}`, position });
    });
  }
  return ids;
}

async function* batchesOf(file: string): AsyncGenerator<Bytes[]> {
  let batch: Bytes[] = [];
  let bytes = 0;
  for await (const { value } of linesOf(bytesOf(file))) {
    const size = typeof value === 'string' ? value.length : value.base64.length;
    if (batch.length > 0 && (batch.length >= MAX_MESSAGES || bytes + size > MAX_BYTES)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(value);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}
