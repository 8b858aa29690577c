/**
 * The local tier: keyv over a bounded lru-cache, in two views of one store, the readable entries and the provisional
 * ones. No serialisation (keyv hands back the same object), so entries are frozen at the boundary.
 */
import { Keyv } from 'keyv';
import {
  createVersionedStore,
  type Provisional,
  type VersionedStore,
  type VersionedStoreOptions,
} from './lru-versioned-store.ts';
import type { LocalEntry, LocalTier } from '../core/ports.ts';

export type LocalTierOptions = VersionedStoreOptions;

/**
 * @param options bounds of the tier and its clock. An entry larger than `maxBytes` is not kept at all: the pipeline sees
 *   that when it reads back what it staged (`E_LOCAL_MISMATCH`).
 */
export function createKeyvLocalTier(options: LocalTierOptions): LocalTier {
  const store = createVersionedStore(options);
  const readable = overKeyv<LocalEntry>(store, {
    read: store.readable,
    write: store.fill,
  });
  const provisional = overKeyv<Provisional>(store, {
    read: store.provisional,
    write: store.stage,
  });
  return {
    async stage(entries, token) {
      await provisional.setMany(
        entries.map((entry) => ({ key: entry.key, value: { entry: frozen(entry), token, next: undefined } })),
      );
    },
    async staged(keys, token) {
      const found = await provisional.getMany([...keys]);
      return found.map((first) => {
        for (let at = first; at !== undefined; at = at.next) if (at.token === token) return at.entry;
        return undefined;
      });
    },
    promote(entries, token) {
      for (const entry of entries) store.promote(entry, token);
    },
    discard: store.discard,
    evict: store.evict,
    get: (key) => readable.get(key),
    getMany: (keys) => readable.getMany([...keys]),
    async fill(entry) {
      await readable.set(entry.key, frozen(entry));
    },
    clear: store.clear,
    size: store.size,
    async close() {
      await readable.disconnect();
      store.clear();
    },
  };
}

interface View<Value> {
  read(key: string): Value | undefined;
  write(value: Value): void;
}

/**
 * One keyv over one view of the store.
 *
 * keyv is given no TTL: it would take `Date.now()` for it, while the store expires entries by the app's clock.
 * `capabilities.expires` keeps keyv from wrapping the store once more. Without an `error` listener keyv throws what
 * the store throws instead of swallowing it.
 */
function overKeyv<Value extends object>(store: VersionedStore, view: View<Value>): Keyv<Value> {
  const row = (key: string): { value: Value } | undefined => {
    const value = view.read(key);
    return value === undefined ? undefined : { value };
  };
  return new Keyv<Value>({
    serialization: false,
    store: {
      capabilities: { expires: true },
      get: (key: string) => row(key),
      getMany: (keys: readonly string[]) => keys.map(row),
      has: (key: string) => row(key) !== undefined,
      hasMany: (keys: readonly string[]) => keys.map((key) => row(key) !== undefined),
      set(_key: string, { value }: { value: Value }) {
        view.write(value);
        return true;
      },
      setMany(rows: readonly { value: { value: Value } }[]) {
        for (const { value } of rows) view.write(value.value);
        return undefined;
      },
      delete: store.drop,
      deleteMany: (keys: readonly string[]) => keys.map(store.drop),
      clear: store.clear,
    },
  });
}

function frozen(entry: LocalEntry): LocalEntry {
  if (Object.isFrozen(entry)) return entry;
  Object.freeze(entry.version);
  Object.freeze(entry.origin);
  return Object.freeze(entry);
}
