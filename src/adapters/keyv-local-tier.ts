/**
 * The local tier: keyv over a bounded lru-cache, in two views of one store, the readable entries and the provisional
 * ones. No serialisation (keyv hands back the same object), so entries are frozen at the boundary.
 */
import { Keyv } from 'keyv';
import type { Clock, LocalEntry, LocalTier } from '../core/ports.ts';
import { createVersionedStore, type VersionedStoreOptions } from './lru-versioned-store.ts';
import type { Staged } from './staged-entries.ts';

export type LocalTierOptions = VersionedStoreOptions;

/**
 * @param options bounds of the tier and its clock. An entry larger than `maxBytes` is not kept at all: the pipeline sees
 *   that when it reads back what it staged (`E_LOCAL_MISMATCH`).
 */
export function createKeyvLocalTier(options: LocalTierOptions): LocalTier {
  const store = createVersionedStore(options);
  const readable = overKeyv<LocalEntry>(
    { read: store.readable, write: (_key, entry) => store.fill(entry) },
    options.clock,
  );
  // One entry of keyv for all an execution stages together: keyv's price is by call and key, and a chunk has a thousand.
  const provisional = overKeyv<Staged, readonly LocalEntry[]>(
    { read: store.staged, write: store.stage },
    options.clock,
  );
  // keyv passes over an empty key.
  const nameOf = (token: string): string => `execution ${token}`;
  return {
    async stage(entries, token) {
      for (const entry of entries) freeze(entry);
      await provisional.set(nameOf(token), entries);
    },
    async staged(keys, token) {
      const held = await provisional.get(nameOf(token));
      return keys.map((key) => held?.get(key));
    },
    promote: (entries, token) => store.promote(entries, nameOf(token)),
    discard: (key, token, readable) => store.discard(key, nameOf(token), readable),
    overtake: store.overtake,
    evict: store.evict,
    get: (key) => readable.get(key),
    getMany: (keys) => readable.getMany([...keys]),
    peek: store.peek,
    async fill(entry) {
      freeze(entry);
      await readable.set(entry.key, entry);
    },
    clear: store.clear,
    size: store.size,
    async close() {
      store.clear();
    },
  };
}

interface View<Found, Written> {
  readonly read: (key: string, nowMs: number) => Found | undefined;
  readonly write: (key: string, value: Written) => void;
}

/**
 * One keyv over one view of the store.
 *
 * keyv is given no TTL: it would reckon by `Date.now()`, while the store expires entries by the app's clock.
 * `capabilities.expires` keeps keyv from wrapping the store once more, which would hand it a TTL as third argument.
 * Without an `error` listener keyv throws what the store throws instead of swallowing it.
 */
function overKeyv<Found extends object, Written = Found>(
  { read, write }: View<Found, Written>,
  clock: Clock,
) {
  const row = (key: string, nowMs: number): { value: Found } | undefined => {
    const value = read(key, nowMs);
    return value === undefined ? undefined : { value };
  };
  const keyv = new Keyv<Found>({
    serialization: false,
    store: {
      capabilities: { expires: true },
      get: (key: string) => row(key, clock.now()),
      getMany(keys: readonly string[]) {
        // Asked once for all: a look at the clock costs a tenth of what a record does.
        const nowMs = clock.now();
        return keys.map((key) => row(key, nowMs));
      },
      set: (key: string, { value }: { readonly value: Written }) => {
        write(key, value);
        return true;
      },
    },
  });
  return {
    get: (key: string) => keyv.get(key),
    getMany: (keys: string[]) => keyv.getMany(keys),
    set: (key: string, value: Written) => keyv.set(key, value),
  };
}

function freeze(entry: LocalEntry): void {
  if (Object.isFrozen(entry)) return;
  Object.freeze(entry.version);
  Object.freeze(entry.origin);
  Object.freeze(entry);
}
