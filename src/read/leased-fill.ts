import { asError, fail } from '../core/errors.ts';
import type { LeaseState, LeaseWord, RedisTier } from '../core/ports.ts';
import { keepLeases, type LeaseOptions, waitForLease, wordOfFailure } from './lease.ts';
import { ABSENT, failedRead, type ReadOutcome, type ReadService, redisRecord } from './read-record.ts';
import type { Reading, SourceFill } from './source-fill.ts';

export interface LeasedFillOptions extends LeaseOptions {
  readonly fill: SourceFill;
  readonly redisTier: RedisTier;
  /** Begins the tokens of this instance's leases. */
  readonly instance: string;
}

/** Holders that may die, one after the other, before a waiting read gives up. */
const MAX_TAKEOVERS = 5;

/**
 * Reads from the source what no other instance reads just now; of what others read the result is awaited, and taken
 * from Redis. Never rejects.
 */
export function createLeasedFill(options: LeasedFillOptions): SourceFill {
  const { leases, redisTier, clock, leaseMs } = options;
  let tokens = 0;
  const nextToken = (): string => `${options.instance}.${(tokens += 1)}`;

  async function holding(
    service: ReadService,
    wanted: readonly Reading[],
    token: string,
  ): Promise<ReadOutcome[]> {
    if (wanted.length === 0) return [];
    const stop = keepLeases(
      options,
      wanted.map(({ key }) => key),
      token,
    );
    const outcomes = await options.fill(service, wanted);
    stop();
    await Promise.all(
      wanted.map(({ key }, index) =>
        // What is not given back ends by itself.
        leases
          .release(key, token, wordOf(service, outcomes[index] ?? ABSENT, options.failureMs))
          .catch(() => undefined),
      ),
    );
    return outcomes;
  }

  /** What becomes of a key whose lease is another's. */
  async function afterOther(service: ReadService, want: Reading, first: LeaseState): Promise<ReadOutcome> {
    let state = first;
    for (let takeovers = 0; takeovers < MAX_TAKEOVERS; takeovers += 1) {
      if (state.kind === 'absent') return ABSENT;
      if (state.kind === 'failed') return failedRead(state.error);
      const end = await waitForLease(options, want.key, service.id);
      if (end.kind === 'absent') return ABSENT;
      if (end.kind === 'failed') return failedRead(end.error);
      const [stored] = await redisTier.read([want.key]);
      if (stored !== undefined && stored !== null) {
        return {
          kind: 'found',
          record: redisRecord(service, want.key, stored, clock.now(), clock.random()),
        };
      }
      const token = nextToken();
      [state = { kind: 'held' }] = await leases.acquire([want.key], token, leaseMs);
      if (state.kind === 'acquired') return (await holding(service, [want], token))[0] ?? ABSENT;
    }
    return failedRead(fail('E_FETCH_TIMEOUT', { service: service.id, timeoutMs: options.maxWaitMs }));
  }

  return async (service, wanted) => {
    const token = nextToken();
    try {
      const states = await leases.acquire(
        wanted.map(({ key }) => key),
        token,
        leaseMs,
      );
      const mine = wanted.filter((_, index) => states[index]?.kind === 'acquired');
      const held = holding(service, mine, token);
      const others = await Promise.all(
        wanted.map(async (want, index) => {
          const state = states[index] ?? { kind: 'held' };
          return state.kind === 'acquired' ? undefined : afterOther(service, want, state);
        }),
      );
      const own = await held;
      let at = 0;
      return others.map((outcome) => outcome ?? own[at++] ?? ABSENT);
    } catch (thrown) {
      const error = asError(thrown);
      return wanted.map(() => failedRead(error));
    }
  };
}

function wordOf({ read }: ReadService, outcome: ReadOutcome, failureMs: number): LeaseWord {
  if (outcome.kind === 'failed') return wordOfFailure(outcome.error, failureMs);
  return outcome.kind === 'absent' ? { kind: 'absent', ttlMs: read.negativeTtlMs } : { kind: 'free' };
}
