/** A source of truth with a history: what it holds, what it once held, and how it may fail. */
import { fail } from '../../../src/core/errors.ts';
import type { FetchOutcome, RecordSource } from '../../../src/core/ports.ts';
import type { Truth } from '../history.ts';
import type { Network } from './network.ts';
import type { SimProcess } from './process.ts';
import type { Random } from './random.ts';

/** How the source answers for the time being. `behind`: like a replica that has not the last change yet. */
export type SourceFault = 'down' | 'open' | 'slow' | 'behind' | 'garbage' | 'flaky';

const SERVICE = 'fetched';

export class TruthSource {
  readonly history: Truth[] = [];
  fault: SourceFault | undefined;
  /** How often the present fault was really felt. */
  felt = 0;
  /**
   * Whether messages tell the version they are about. Where they do not, nobody can know that an answer is behind, and
   * what it says is believed: such a source is not made to be behind.
   */
  announces = true;
  /** How many reads by readers were under way at once of one record, at most; those of dead processes stay. */
  mostReaders = 0;
  readonly #readers = new Map<string, number>();
  readonly #random: Random;
  readonly #records = new Map<string, { version: number; text: string | null; before: string | null }>();

  constructor(random: Random) {
    this.#random = random;
  }

  /** The record changes, or goes; its version counts on over deletions. Returns what is true from now on. */
  change(id: string, key: string, op: 'upsert' | 'delete'): Truth {
    const known = this.#records.get(id);
    const version = (known?.version ?? 0) + 1;
    const text = op === 'delete' ? null : JSON.stringify({ id, version, text: `v${version}` });
    this.#records.set(id, { version, text, before: known?.text ?? known?.before ?? null });
    const truth: Truth = {
      key,
      version: `counter:${version}`,
      op,
      text: text ?? undefined,
      ...(op === 'delete' && { keepsVersion: true }),
    };
    this.history.push(truth);
    return truth;
  }

  /**
   * As one process asks it.
   *
   * @param port `source.fetch` for a change message, `read.fetch` for a reader
   */
  sourceFor(process: SimProcess, network: Network, port: 'source.fetch' | 'read.fetch'): RecordSource {
    return {
      fetchMany: async (requests, signal) => {
        const ids = requests.map(({ id }) => id);
        if (port === 'read.fetch') this.#count(ids, 1);
        try {
          return await network.call(process, 'source', port, () => this.#answer(ids), failed);
        } catch (thrown) {
          signal.throwIfAborted();
          return ids.map(() => ({ kind: 'failed', error: failed(String(thrown)) }));
        } finally {
          if (port === 'read.fetch') this.#count(ids, -1);
        }
      },
      close: async () => undefined,
    };
  }

  #count(ids: readonly string[], step: 1 | -1): void {
    for (const id of ids) {
      const readers = (this.#readers.get(id) ?? 0) + step;
      this.#readers.set(id, readers);
      this.mostReaders = Math.max(this.mostReaders, readers);
    }
  }

  #answer(ids: readonly string[]): FetchOutcome[] {
    const { fault } = this;
    if (fault !== undefined) this.felt += 1;
    if (fault === 'down') throw failed('it is down');
    if (fault === 'open') {
      const error = fail('E_SOURCE_OPEN', { service: SERVICE, retryAfterMs: 2_000 });
      return ids.map(() => ({ kind: 'failed', error }));
    }
    if (fault === 'slow') {
      const error = fail('E_FETCH_TIMEOUT', { service: SERVICE, timeoutMs: 1_000 });
      return ids.map(() => ({ kind: 'failed', error }));
    }
    return ids.map((id) => this.#answerOne(id));
  }

  #answerOne(id: string): FetchOutcome {
    const record = this.#records.get(id);
    const isHit = this.#random.chance(0.5);
    if (this.fault === 'garbage' && isHit) return { kind: 'record', text: '{"error": "try again' };
    if (this.fault === 'flaky' && isHit) return { kind: 'failed', error: failed('a single record failed') };
    const isBehind = this.fault === 'behind' && this.announces && record?.before !== null;
    const text = isBehind ? record?.before : record?.text;
    return text == null ? { kind: 'absent' } : { kind: 'record', text };
  }
}

function failed(reason: string): ReturnType<typeof fail> {
  return fail('E_FETCH_FAILED', { service: SERVICE, reason });
}
