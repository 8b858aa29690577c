import { z } from 'zod';
import { createKafkaProducer } from '../../src/adapters/kafka-producer.ts';
import { messageId } from '../../src/core/change.ts';
import { TOPIC } from './config.ts';
import type { Ending } from './ending.ts';
import { runCommand } from './service.ts';
import type { Stage } from './stage.ts';

/** A message as it goes in. */
export interface Outgoing {
  /** Kafka key: messages of one record share a partition, and so their order. */
  readonly key: string;
  readonly text: string;
}

export interface Sender {
  /** How it sends, for people. */
  readonly way: string;
  /** Sends and returns the id under which the message is on record. */
  send(message: Outgoing): Promise<string>;
}

export function createSender(stage: Stage, ending: Ending): Sender {
  return stage.kafka === undefined ? throughHttp(stage) : throughKafka(stage.kafka.brokers, ending);
}

function throughKafka(brokers: readonly string[], ending: Ending): Sender {
  const silent = { debug: noop, info: noop, warn: noop, error: noop };
  const producer = createKafkaProducer({ brokers, ssl: false, clientId: 'cachewright-demo', log: silent });
  ending.closeLater('the producer', () => producer.close());
  return {
    way: `Kafka, topic ${TOPIC}`,
    async send({ key, text }) {
      const [sent] = await producer.send(TOPIC, [{ key, value: text }]);
      if (sent === undefined) throw new Error('Kafka did not say where the message went');
      return messageId({ stream: `${TOPIC}-${sent.partition}`, position: sent.baseOffset });
    },
  };
}

/** What is not JSON is refused by HTTP at the door, so it goes in as a line of a file. */
function throughHttp({ url, configFile }: Stage): Sender {
  return {
    way: 'HTTP, POST /v1/changes (no JSON: cachewright ingest)',
    async send({ text }) {
      if (!isJson(text)) return ingested(configFile, text);
      const response = await fetch(`${url}/v1/changes`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: text,
      });
      const body = (await response.json()) as { readonly messages?: readonly string[] };
      const id = body.messages?.[0];
      if (id === undefined)
        throw new Error(`POST /v1/changes answered ${response.status} ${JSON.stringify(body)}`);
      return id;
    },
  };
}

async function ingested(configFile: string, line: string): Promise<string> {
  const output = await runCommand(['ingest', '-', '--config', configFile, '--json', '--quiet'], `${line}\n`);
  const { stream } = z.object({ stream: z.string() }).parse(JSON.parse(output));
  return messageId({ stream, position: '1' });
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function noop(): void {
  // A broker that is not there yet is retried; the send itself says what fails.
}
