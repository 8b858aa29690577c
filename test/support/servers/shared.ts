import { Client } from 'pg';
import { inject } from 'vitest';
import { z } from 'zod';
import { createKafkaTools, type KafkaTools } from './kafka-tools.ts';

/*
 * The asking side of `global.ts`: addresses of the servers a whole run shares. Be a good guest: unique topic, group,
 * key prefix and queue names (`uniqueName`), no FLUSHALL, no CONFIG SET. A test that destroys starts its own server.
 */

declare module 'vitest' {
  interface ProvidedContext {
    /** Where the shared servers are asked for; see `global.ts`. */
    readonly serverOffice: string;
  }
}

const kafkaAddress = z.object({ brokers: z.array(z.string()) });
const redisAddress = z.object({ url: z.string(), host: z.string(), port: z.number() });
const postgresAddress = z.object({ url: z.string() });

/** The run's broker, with Kafka's own tools for it. */
export interface SharedKafka extends KafkaTools {
  readonly brokers: readonly string[];
}
export type SharedRedis = Readonly<z.infer<typeof redisAddress>>;

/** One KRaft broker (Kafka 4.3.1) for the run; started when first asked for, about five seconds. */
export async function sharedKafka(): Promise<SharedKafka> {
  const { brokers } = kafkaAddress.parse(await askFor('kafka'));
  return { brokers, ...createKafkaTools(brokers) };
}

/** One Redis for the run: `noeviction`, no append-only file. */
export async function sharedRedis(): Promise<SharedRedis> {
  return redisAddress.parse(await askFor('redis'));
}

/** The URL of a fresh, empty database on the run's one Postgres. */
export async function sharedPostgres(): Promise<string> {
  const { url } = postgresAddress.parse(await askFor('postgres'));
  const name = uniqueName('db').replaceAll('-', '_');
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(`create database ${name}`);
  } finally {
    await client.end();
  }
  return url.replace(/[^/]*$/, name);
}

let counter = 0;

/** A name no other test file or run uses: letters, digits and dashes only. */
export function uniqueName(prefix: string): string {
  counter += 1;
  return `${prefix}-${process.pid.toString(36)}-${Date.now().toString(36)}-${counter}`;
}

async function askFor(server: string): Promise<unknown> {
  const response = await fetch(`${inject('serverOffice')}/${server}`);
  if (!response.ok) throw new Error(`the shared ${server} did not start: ${await response.text()}`);
  return response.json();
}
