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
  const provisional = overKeyv<Staged>({ read: store.staged, write: store.stage }, options.clock);
  // keyv passes over an empty key.
  const nameOf = (token: string): string => `execution ${token}`;
  return {
    async stage(entries, token) {
      await provisional.set(nameOf(token), new Map(entries.map((entry) => [entry.key, frozen(entry)])));
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
      await readable.set(entry.key, frozen(entry));
    },
    clear: store.clear,
    size: store.size,
    async close() {
      store.clear();
    },
  };
}

interface View<Value> {
  readonly read: (key: string, nowMs: number) => Value | undefined;
  readonly write: (key: string, value: Value) => void;
}

/**
 * One keyv over one view of the store.
 *
 * keyv is given no TTL: it would reckon by `Date.now()`, while the store expires entries by the app's clock.
 * `capabilities.expires` keeps keyv from wrapping the store once more, which would hand it a TTL as third argument.
 * Without an `error` listener keyv throws what the store throws instead of swallowing it.
 */
function overKeyv<Value extends object>({ read, write }: View<Value>, clock: Clock): Keyv<Value> {
  const row = (key: string, nowMs: number): { value: Value } | undefined => {
    const value = read(key, nowMs);
    return value === undefined ? undefined : { value };
  };
  return new Keyv<Value>({
    serialization: false,
    store: {
      capabilities: { expires: true },
      get: (key: string) => row(key, clock.now()),
      getMany(keys: readonly string[]) {
        // Asked once for all: a look at the clock costs a tenth of what a record does.
        const nowMs = clock.now();
        return keys.map((key) => row(key, nowMs));
      },
      set: (key: string, { value }: { readonly value: Value }) => {
        write(key, value);
        return true;
      },
    },
  });
}

function frozen(entry: LocalEntry): LocalEntry {
  if (Object.isFrozen(entry)) return entry;
  Object.freeze(entry.version);
  Object.freeze(entry.origin);
  return Object.freeze(entry);
}
