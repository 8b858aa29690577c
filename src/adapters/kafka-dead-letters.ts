import { toBuffer } from '../core/change.ts';
import { deadLetterTopicOf, kafkaPlaceOf } from '../core/dead-letter.ts';
import { asError, type CachewrightError, fail } from '../core/errors.ts';
import type { Clock, DeadLetter, DeadLetterTopic } from '../core/ports.ts';
import type { KafkaConnectionOptions } from './kafka-connection.ts';
import { createKafkaProducer, type MessageToPublish } from './kafka-producer.ts';

/** Kafka Connect's task id: there is one task. */
const TASK = '0';

/**
 * Delivers dead letters to Kafka topics: key, value and headers byte for byte, and the headers that Kafka Connect's sink
 * tools know (`DeadLetterQueueReporter`, KIP-298), all of them text.
 *
 * @param pattern of the topic, see {@link deadLetterTopicOf}
 * @param connector told as `__connect.errors.connector.name`: the consumer group
 */
export function createKafkaDeadLetters(
  options: KafkaConnectionOptions & {
    readonly pattern: string;
    readonly connector: string;
    readonly clock: Clock;
  },
): DeadLetterTopic {
  const { pattern, connector, clock } = options;
  const producer = createKafkaProducer(options);

  const send = async (
    topic: string,
    letters: readonly DeadLetter[],
  ): Promise<readonly (CachewrightError | null)[]> => {
    const nowMs = clock.now();
    try {
      await producer.send(
        topic,
        letters.map((letter) => toMessage(letter, connector, nowMs)),
      );
      return letters.map(() => null);
    } catch (thrown) {
      const error = asError(thrown);
      if (error.code === 'E_UNREACHABLE' || error.code === 'E_KAFKA_AUTH') throw error;
      if (letters.length === 1 || error.code === 'E_TOPIC_MISSING') return letters.map(() => error);
      // One of them is at fault; together they would hold each other up.
      const outcomes: (CachewrightError | null)[] = [];
      for (const letter of letters) outcomes.push(...(await send(topic, [letter])));
      return outcomes;
    }
  };

  return {
    async deliver(letters) {
      const outcomes = letters.map((): CachewrightError | null => null);
      const topics = Map.groupBy(letters.keys(), (index) => topicOf(pattern, letters[index]));
      for (const [topic, indexes] of topics) {
        const sent = await send(
          topic,
          indexes.flatMap((index) => letters[index] ?? []),
        );
        indexes.forEach((index, place) => {
          outcomes[index] = sent[place] ?? null;
        });
      }
      return outcomes;
    },
    close: () => producer.close(),
  };
}

function topicOf(pattern: string, letter: DeadLetter | undefined): string {
  const topic = letter === undefined ? undefined : deadLetterTopicOf(pattern, letter.origin);
  if (topic === undefined) throw fail('E_UNEXPECTED', { what: 'a letter for Kafka without a topic' });
  return topic;
}

function toMessage(letter: DeadLetter, connector: string, nowMs: number): MessageToPublish {
  const headers: Record<string, (string | Buffer)[]> = {};
  // Appended to those of the same name: a message that died before carries them already, and the last ones are ours.
  const append = (name: string, value: string | Buffer): void => {
    (headers[name] ??= []).push(value);
  };
  for (const [name, value] of letter.headers) append(name, toBuffer(value));
  for (const [name, value] of errorHeaders(letter, connector)) append(name, value);
  return {
    key: letter.key === null ? null : toBuffer(letter.key),
    value: letter.value === null ? null : toBuffer(letter.value),
    headers,
    // Brokers refuse times from the future; they may have been the producer's own.
    timestampMs: Math.floor(Math.min(letter.timestampMs, nowMs)),
  };
}

function errorHeaders(letter: DeadLetter, connector: string): (readonly [name: string, value: string])[] {
  const { origin, error, stage = '', attempts, firstFailedMs, diedMs } = letter;
  const place = kafkaPlaceOf(origin);
  return [
    ['__connect.errors.topic', place?.topic ?? origin.stream],
    ['__connect.errors.partition', place?.partition ?? ''],
    ['__connect.errors.offset', origin.position],
    ['__connect.errors.connector.name', connector],
    ['__connect.errors.task.id', TASK],
    ['__connect.errors.stage', stage],
    ['__connect.errors.class.name', error.code],
    ['__connect.errors.exception.class.name', 'CachewrightError'],
    ['__connect.errors.exception.message', error.message],
    ['cachewright.message', letter.message],
    ['cachewright.epoch', String(origin.epoch)],
    ['cachewright.redrive', String(letter.redrive)],
    ['cachewright.service', letter.service],
    ['cachewright.id', letter.recordId],
    ['cachewright.state', letter.state],
    ['cachewright.attempts', String(attempts)],
    ['cachewright.first-failed', new Date(firstFailedMs).toISOString()],
    ['cachewright.died', new Date(diedMs).toISOString()],
  ];
}
