import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createKafkaLook } from '../adapters/kafka-look.ts';
import { kafkaConnection } from '../app/kafka-connection.ts';
import type { KafkaConfig } from '../config/schema.ts';
import { fail, reasonOf } from '../core/errors.ts';
import type { Run } from './command.ts';
import { type Guess, guessFrom, nothingSeen } from './init-guess.ts';
import { configurationText } from './init-text.ts';
import { EXIT, print, say } from './output.ts';
import { loadSettings } from './settings.ts';
import { silentLog } from './silent-log.ts';

interface InitOptions {
  readonly fromTopic?: string;
  readonly kafkaBrokers?: string;
  readonly output: string;
}

/** How long a look waits for a message, milliseconds: a group's first join takes some seconds. */
const LOOK_MS = 20_000;
const DEFAULT_BROKERS = ['127.0.0.1:9092'];

/** `cachewright init`: writes a commented configuration that fits the one message it has seen. */
export const initCommand: Run<InitOptions> = async (options) => {
  const file = resolve(options.output);
  if (!/\.(ts|js|mjs)$/.test(file)) {
    throw fail('E_USAGE', { reason: 'The file has comments, so its name ends in .mjs, .js or .ts.' });
  }
  if (existsSync(file) && !options.yes) {
    throw fail('E_USAGE', { reason: `${options.output} is there already; --yes overwrites it.` });
  }
  const brokers = options.kafkaBrokers?.split(',').map((broker) => broker.trim()) ?? DEFAULT_BROKERS;
  const { fromTopic: topic } = options;
  const guess = topic === undefined ? nothingSeen('cache-message') : await look(topic, brokers, options);
  try {
    writeFileSync(file, configurationText(guess, brokers));
  } catch (thrown) {
    throw fail('E_USAGE', { reason: `${file} cannot be written: ${reasonOf(thrown)}.` }, { cause: thrown });
  }
  if (options.json) print(JSON.stringify({ file, ...guess }));
  else print(file);
  say('Read it, then: cachewright config check, cachewright doctor, cachewright start', options.quiet);
  return EXIT.ok;
};

async function look(
  topic: string,
  brokers: readonly string[],
  options: Parameters<Run<InitOptions>>[0],
): Promise<Guess> {
  // Credentials and TLS come from the environment or a file that is there; the file may be the one to be replaced.
  const { config } = await loadSettings({
    ...options,
    ...(options.kafkaBrokers === undefined ? {} : { kafkaBrokers: options.kafkaBrokers }),
  });
  const known: Partial<KafkaConfig> = config.kafka ?? {};
  const look = createKafkaLook({
    ...(config.kafka === undefined ? { log: silentLog } : kafkaConnection(config.kafka, silentLog)),
    ...(known.brokers === undefined || options.kafkaBrokers !== undefined ? { brokers } : {}),
  });
  try {
    say(`looking at one message of ${topic} …`, options.quiet);
    const seen = await look.oldest(topic, LOOK_MS);
    if (seen === undefined) say(`${topic} holds no message: the configuration is a guess`, options.quiet);
    else say(`seen: ${seen.id}`, options.quiet);
    return seen === undefined ? nothingSeen(topic) : guessFrom(topic, seen.key, seen.value);
  } finally {
    await look.close();
  }
}
