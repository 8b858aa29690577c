import { z } from 'zod';
import { waitFor } from '../../test/support/servers/process.ts';
import type { Stage } from './stage.ts';

const trailRecord = z.object({
  message: z.string(),
  state: z.string(),
  execution: z.number(),
  version: z.string(),
  attempts: z.number(),
  supersededBy: z.string(),
  dueMs: z.number(),
  note: z.string(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
});
const trailAnswer = z.object({ trail: z.array(trailRecord) });
const boardAnswer = z.object({
  queues: z.array(z.object({ name: z.string(), counts: z.record(z.string(), z.number()) })),
});

/** One execution of a message as the service has it on record. */
export type TrailRecord = z.infer<typeof trailRecord>;

/** What the local tier of the service answers; undefined: neither tier has the record. */
export interface Served {
  readonly text: string;
  readonly tier: string;
}

/** What can be seen from outside: the trail, the tiers, the dead letters. */
export interface Look {
  /** The executions of a message, once the last of them is final. */
  journey(message: string): Promise<TrailRecord[]>;
  /** `GET key` of Redis; null: (nil). */
  redisGet(key: string): Promise<string | null>;
  served(service: string, id: string): Promise<Served | undefined>;
  deadLetters(): Promise<number>;
}

const JOURNEY_MS = 30_000;

export function createLook({ redis, url }: Stage): Look {
  const ask = async (path: string): Promise<unknown> => (await fetch(`${url}${path}`)).json();
  return {
    journey(message) {
      return waitFor(
        async () => {
          const { trail } = trailAnswer.parse(await ask(`/v1/trail?message=${encodeURIComponent(message)}`));
          const last = trail.at(-1);
          return last !== undefined && last.dueMs === 0 && last.state !== 'lost' ? trail : undefined;
        },
        { what: `${message} to arrive`, timeoutMs: JOURNEY_MS, everyMs: 50 },
      );
    },
    async redisGet(key) {
      return bulkString(await redis.ask(`GET ${key}`));
    },
    async served(service, id) {
      const response = await fetch(`${url}/v1/records/${service}/${id}`);
      const text = await response.text();
      return response.ok ? { text, tier: response.headers.get('x-cache') ?? '' } : undefined;
    },
    async deadLetters() {
      const { queues } = boardAnswer.parse(await ask('/queues/api/queues'));
      const letters = queues.find(({ name }) => name.endsWith('dead-letters'));
      return Object.values(letters?.counts ?? {}).reduce((sum, count) => sum + count, 0);
    },
  };
}

/** `$5\r\nhello\r\n` as Redis sends it; the length counts bytes. */
function bulkString(reply: string): string | null {
  if (reply.startsWith('$-1')) return null;
  const [, length = '', rest = ''] = /^\$(\d+)\r\n([^]*)$/.exec(reply) ?? [];
  if (length === '') throw new Error(`Redis answered ${reply.trim()}`);
  return Buffer.from(rest).subarray(0, Number(length)).toString();
}
