import { createMachine } from 'xstate';

/** What every active state tells: the effect it waits for, and where a run that has to wait starts again. */
export interface StateMeta {
  readonly effect: string;
  /** What was fetched before a wait is old news, so it is fetched again: a wait goes back to `parsed`. */
  readonly resumesAt: string;
}

/** Every active state can end these two ways: the message is at fault, or its attempts are used up. */
const ends = { rejected: 'rejected', exhausted: 'gaveUp' } as const;

/**
 * The way of a change message. Context-free on purpose: states, events and effect names only, so that the machine that
 * runs in production is the one the tests walk. Timers belong to the queue, effects to the pipeline.
 */
export const changeMessage = createMachine({
  id: 'change-message',
  version: '1',
  initial: 'received',
  states: {
    received: {
      meta: { effect: 'parse', resumesAt: 'received' } satisfies StateMeta,
      on: { parsed: 'parsed', ignored: 'ignored', ...ends },
    },
    parsed: {
      meta: { effect: 'fetch', resumesAt: 'parsed' } satisfies StateMeta,
      on: { fetched: 'fetched', absent: 'evicting', deleted: 'evicting', superseded: 'superseded', ...ends },
    },
    fetched: {
      meta: { effect: 'storeLocal', resumesAt: 'parsed' } satisfies StateMeta,
      on: { storedLocally: 'localCached', ...ends },
    },
    localCached: {
      meta: { effect: 'storeRedis', resumesAt: 'parsed' } satisfies StateMeta,
      on: { storedInRedis: 'redisCached', refused: 'superseded', ...ends },
    },
    evicting: {
      meta: { effect: 'evict', resumesAt: 'parsed' } satisfies StateMeta,
      on: { evicted: 'evicted', refused: 'superseded', ...ends },
    },
    redisCached: { type: 'final' },
    evicted: { type: 'final' },
    superseded: { type: 'final' },
    ignored: { type: 'final' },
    rejected: { type: 'final' },
    gaveUp: { type: 'final' },
  },
});
