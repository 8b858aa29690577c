import { existsSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { KafkaConnectionOptions } from '../adapters/kafka-connection.ts';
import { createKafkaLook } from '../adapters/kafka-look.ts';
import { kafkaConnection } from '../app/kafka-connection.ts';
import { loadConfig } from '../config/load-config.ts';
import { fail, reasonOf } from '../core/errors.ts';
import type { GlobalOptions, Run } from './command.ts';
import { type Guess, guessFrom, nothingSeen } from './init-guess.ts';
import { configurationText } from './init-text.ts';
import { EXIT, print, say } from './output.ts';
import { silentLog } from './silent-log.ts';

interface InitOptions {
  readonly fromTopic?: string;
  readonly kafkaBrokers?: string;
  readonly output: string;
}

/** How long a look waits for a message, milliseconds: a group's first join takes some seconds. */
const LOOK_MS = 20_000;
const DEFAULT_BROKERS: readonly string[] = ['127.0.0.1:9092'];

/** `cachewright init`: writes a commented configuration that fits the one message it has seen. */
export const initCommand: Run<InitOptions> = async (options) => {
  const file = resolve(options.output);
  if (!/\.(ts|js|mjs)$/.test(file)) {
    throw fail('E_USAGE', { reason: 'The file has comments, so its name ends in .mjs, .js or .ts.' });
  }
  if (existsSync(file) && !options.yes) {
    throw fail('E_USAGE', { reason: `${options.output} is there already; --yes overwrites it.` });
  }
  const { fromTopic: topic } = options;
  const connection = await connectionFor(topic ?? 'cache-message', options);
  const guess =
    topic === undefined ? nothingSeen('cache-message') : await look(topic, connection, options.quiet);
  try {
    writeFileSync(file, configurationText(guess, connection.brokers ?? DEFAULT_BROKERS));
  } catch (thrown) {
    throw fail('E_USAGE', { reason: `${file} cannot be written: ${reasonOf(thrown)}.` }, { cause: thrown });
  }
  if (options.json) print(JSON.stringify({ file, ...guess }));
  else print(file);
  say('Read it, then: cachewright config check, cachewright doctor, cachewright start', options.quiet);
  return EXIT.ok;
};

/** Brokers, credentials and TLS as flags, environment and a file at hand say; the file may be the one to be replaced. */
async function connectionFor(
  topic: string,
  { config: file, kafkaBrokers, quiet }: InitOptions & GlobalOptions,
): Promise<KafkaConnectionOptions> {
  const load = async (brokers: string | undefined): Promise<KafkaConnectionOptions | undefined> => {
    const flags = { 'kafka.topics': topic, 'kafka.brokers': brokers };
    const { config } = await loadConfig({ flags, ...(file !== undefined && { file }) });
    return config.kafka === undefined ? undefined : kafkaConnection(config.kafka, silentLog);
  };
  try {
    // Without brokers anywhere the first try is refused, and the second takes the usual address.
    const known = await load(kafkaBrokers).catch(() => load(kafkaBrokers ?? DEFAULT_BROKERS.join(',')));
    if (known !== undefined) return known;
  } catch (thrown) {
    if (file !== undefined) throw thrown;
    say(`the configuration at hand is passed over: ${reasonOf(thrown)}`, quiet);
  }
  return { brokers: kafkaBrokers?.split(',') ?? DEFAULT_BROKERS, log: silentLog };
}

async function look(topic: string, connection: KafkaConnectionOptions, isQuiet: boolean): Promise<Guess> {
  const look = createKafkaLook(connection);
  try {
    say(`looking at one message of ${topic} …`, isQuiet);
    const seen = await look.oldest(topic, LOOK_MS);
    if (seen === undefined) say(`${topic} holds no message: the configuration is a guess`, isQuiet);
    else say(`seen: ${seen.id}`, isQuiet);
    return seen === undefined ? nothingSeen(topic) : guessFrom(topic, seen.key, seen.value);
  } finally {
    await look.close();
  }
}
