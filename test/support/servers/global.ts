import { createServer, type ServerResponse } from 'node:http';
import type { TestProject } from 'vitest/node';
import { startKafka } from './kafka.ts';
import { shareRunDir, sweepLeftovers } from './leftovers.ts';
import { listenOnLoopback } from './loopback.ts';
import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';

/*
 * The servers all test files of one run share: one Kafka broker, one Redis, one Postgres.
 *
 * They live in the test runner's own process, behind a tiny HTTP door, and start when the first test file asks. So a run
 * of one Redis test does not wait for Kafka, and a run of unit tests starts nothing. See `shared.ts` for the asking side.
 */

interface Startable {
  stop(): Promise<void>;
}

interface Office {
  readonly url: string;
  users: number;
  close(): Promise<void>;
}

/** On `globalThis`, because the runner loads this module once per project and all projects share the servers. */
const OFFICE = Symbol.for('cachewright.test.office');
const holder: typeof globalThis & { [OFFICE]?: Promise<Office> } = globalThis;

/** Called by vitest before the first file of each project that lists this module as its `globalSetup`. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  holder[OFFICE] ??= openOffice();
  const office = await holder[OFFICE];
  office.users += 1;
  project.provide('serverOffice', office.url);
  return async () => {
    office.users -= 1;
    if (office.users > 0) return;
    delete holder[OFFICE];
    await office.close();
  };
}

async function openOffice(): Promise<Office> {
  sweepLeftovers();
  shareRunDir();
  const started = new Map<string, Promise<Startable>>();
  const starters: Readonly<Record<string, () => Promise<Startable>>> = {
    '/kafka': () => startKafka(),
    '/redis': () => startRedis(),
    '/postgres': () => startPostgres(),
  };

  const answer = async (path: string, response: ServerResponse): Promise<void> => {
    const start = starters[path];
    if (start === undefined) return void response.writeHead(404).end();
    const server = started.get(path) ?? start();
    started.set(path, server);
    try {
      response.end(JSON.stringify(await server)); // functions fall away, addresses stay
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  };

  const door = createServer((request, response) => void answer(request.url ?? '/', response));
  const port = await listenOnLoopback(door);
  return {
    url: `http://127.0.0.1:${port}`,
    users: 0,
    async close() {
      door.closeAllConnections();
      door.close();
      await Promise.allSettled([...started.values()].map(async (server) => (await server).stop()));
      sweepLeftovers(); // of test processes that were killed on purpose
    },
  };
}
