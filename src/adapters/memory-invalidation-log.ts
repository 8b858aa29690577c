/** An in-memory invalidation log for tests, held to the same suite as the stream in Redis. */
import { changesOf, fenceOf, FORMAT, type LogWriter } from './redis-announcement.ts';
import { fail } from '../core/errors.ts';
import type { Clock, InvalidationLog, LogEntry, LogPosition } from '../core/ports.ts';

/** What the instances of one memory share: the log itself. */
export interface MemoryStream {
  readonly entries: LogEntry[];
  /** Names the servers; another text is another server. */
  servers: string;
  /** The counter; tests may lose it. */
  counter: { epoch: number; keys: number } | undefined;
  append(writer: LogWriter, keys: readonly string[], fences: readonly string[]): void;
  /** Calls the listener at the next entry. */
  onNext(listener: () => void): void;
}

export function createMemoryStream(): MemoryStream {
  const listeners = new Set<() => void>();
  let epochs = 0;
  return {
    entries: [],
    servers: 'memory',
    counter: undefined,
    append({ writer, maxKeys }, keys, fences) {
      this.counter ??= { epoch: (epochs += 1), keys: 0 };
      const after = this.counter.keys;
      this.counter.keys += keys.length;
      const payload = [...keys, ...fences].join('\n');
      this.entries.push({
        epoch: String(this.counter.epoch),
        sequence: this.counter.keys,
        after,
        writer,
        changes: () => changesOf(FORMAT, payload),
      });
      const kept = this.entries.filter(
        ({ epoch, sequence }) =>
          epoch === String(this.counter?.epoch) && sequence >= (this.counter?.keys ?? 0) - maxKeys,
      );
      this.entries.splice(0, this.entries.length - kept.length);
      for (const listener of listeners) listener();
      listeners.clear();
    },
    onNext: (listener) => void listeners.add(listener),
  };
}

/** One instance's view of the log. */
export function createMemoryInvalidationLog(
  stream: MemoryStream,
  { maxKeys }: Pick<LogWriter, 'maxKeys'>,
  clock: Clock,
): InvalidationLog {
  let isClosed = false;
  /** Reads that wait. A signal made of several would be kept by Node for as long as somebody listens, with all behind it. */
  const waiting = new Set<AbortController>();
  /** The epoch of an older log, whose entries are not to be followed. */
  let beginning = 0;
  const assertOpen = (): void => {
    if (isClosed) throw fail('E_UNREACHABLE', { what: 'The log', reason: 'it was closed' });
  };
  return {
    async end() {
      assertOpen();
      const { counter, servers } = stream;
      if (counter === undefined) beginning = Number(stream.entries.at(-1)?.epoch ?? 0);
      return {
        servers,
        epoch: counter === undefined ? '' : String(counter.epoch),
        sequence: counter?.keys ?? 0,
      };
    },
    async read(after, waitMs) {
      assertOpen();
      const behind = (): LogEntry[] => stream.entries.filter((entry) => isBehind(entry, after, beginning));
      if (behind().length > 0 || waitMs <= 0) return behind();
      const woken = new AbortController();
      waiting.add(woken);
      stream.onNext(() => woken.abort());
      await clock.sleep(waitMs, woken.signal).catch(() => undefined);
      waiting.delete(woken);
      assertOpen();
      return behind();
    },
    async announce(changes) {
      assertOpen();
      if (changes.length === 0) return;
      stream.append(
        { writer: '', maxKeys },
        changes.map(({ key }) => key),
        changes.map(fenceOf),
      );
    },
    async close() {
      isClosed = true;
      for (const woken of waiting) woken.abort();
    },
  };
}

function isBehind(entry: LogEntry, after: LogPosition, beginning: number): boolean {
  if (entry.epoch === after.epoch) return entry.sequence > after.sequence;
  return Number(entry.epoch) > (after.epoch === '' ? beginning : Number(after.epoch));
}
