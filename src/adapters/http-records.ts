import type { CallGate } from './call-gate.ts';
import { createHttpClient } from './http-client.ts';
import { compileUrlTemplate } from './http-url-template.ts';
import { type AnsweredItem, failedRecord, joinById } from './join-by-id.ts';
import { asError, fail, reasonOf } from '../core/errors.ts';
import { isContainer, itemsAt, pointerTokens, sliceAt, valueAt } from '../core/json-text.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';

export interface HttpRecordsOptions {
  readonly service: string;
  /** Address of one record, with `{id}` as a whole path segment or query value. */
  readonly url: string;
  readonly timeoutMs: number;
  /** Resolved values; they are secrets. */
  readonly headers: Readonly<Record<string, string>>;
  readonly batch?: HttpBatchOptions | undefined;
  /** Largest body. @defaultValue 8 MiB */
  readonly maxBytes?: number | undefined;
  /** See {@link HttpClientOptions.allowRedirectsTo}. */
  readonly allowRedirectsTo: readonly string[];
  /** JSON pointer of the record in the answer for one id. @defaultValue '', the answer is the record */
  readonly item?: string | undefined;
  /** At least the gate's concurrency, or calls wait for a connection within their time. */
  readonly maxConnections: number;
  readonly gate: CallGate;
}

export interface HttpBatchOptions {
  /** Address of many records, with `{ids}`. */
  readonly url: string;
  readonly maxIds: number;
  /** JSON pointers: of the list in the answer, and of the id in an item. */
  readonly items: string;
  readonly id: string;
  /** What becomes of an id that is not in the answer: asked for singly, or taken as gone. */
  readonly missing: 'ask' | 'absent';
}

const MAX_BYTES = 8 * 1_024 ** 2;

/** Statuses by which a source may mean one id, or the length of the list: each id is then asked for by itself. */
const ABOUT_THE_LIST: ReadonlySet<unknown> = new Set([400, 413, 414, 422]);
const GONE: ReadonlySet<unknown> = new Set([404, 410]);

/** Records of an HTTP API. docs/sources.md says what each kind of answer means. */
export function createHttpRecords(options: HttpRecordsOptions): RecordSource {
  const { service, batch } = options;
  const client = createHttpClient({
    ...options,
    urls: [options.url, batch?.url ?? options.url].map((url) => url.replaceAll(/\{ids?\}/g, '0')),
    maxBytes: options.maxBytes ?? MAX_BYTES,
  });
  const one = compileUrlTemplate(options.url, '{id}');
  const itemTokens = pointerTokens(options.item ?? '');
  const askMany = batch === undefined ? undefined : createAskMany(batch);

  async function askOne(id: string, signal: AbortSignal): Promise<FetchOutcome> {
    try {
      const text = await client.get(one.urlOf([id]), signal);
      parse(service, text);
      const record = sliceAt(text, itemTokens);
      if (record === undefined) return failedRecord(service, id, `nothing stands at ${options.item}`);
      return recordOf(service, id, record);
    } catch (thrown) {
      const error = asError(thrown);
      if (error.code === 'E_FETCH_FAILED' && GONE.has(error.details['status'])) return { kind: 'absent' };
      return { kind: 'failed', error };
    }
  }

  function createAskMany(
    rule: HttpBatchOptions,
  ): (ids: readonly string[], signal: AbortSignal) => Promise<Map<string, FetchOutcome>> {
    const many = compileUrlTemplate(rule.url, '{ids}');
    const itemsTokens = pointerTokens(rule.items);
    const idTokens = pointerTokens(rule.id);

    function* itemsOf(text: string): Generator<AnsweredItem> {
      for (const item of itemsAt(text, itemsTokens)) {
        const id = idOf(sliceAt(item, idTokens));
        yield { id, outcome: recordOf(service, id ?? '', item) };
      }
    }

    return async (ids, signal) => {
      const text = await client.get(many.urlOf(ids), signal);
      const list = valueAt(parse(service, text), itemsTokens);
      if (!isContainer(list)) {
        throw fail('E_FETCH_ITEM_UNKNOWN', {
          service,
          path: rule.items === '' ? 'its top' : rule.items,
          reason: list === undefined ? 'nothing is there' : 'neither an array nor an object is there',
        });
      }
      const { outcomes, isExact } = joinById(service, ids, itemsOf(text));
      if (rule.missing === 'absent' && isExact) {
        for (const id of ids) if (!outcomes.has(id)) outcomes.set(id, { kind: 'absent' });
      }
      return outcomes;
    };
  }

  /** One batch: what it answered, and for the ids it left open an answer each. */
  async function askGroup(
    ask: NonNullable<typeof askMany>,
    ids: readonly string[],
    signal: AbortSignal,
    outcomes: Map<string, FetchOutcome>,
  ): Promise<void> {
    try {
      for (const [id, outcome] of await ask(ids, signal)) outcomes.set(id, outcome);
    } catch (thrown) {
      const error = asError(thrown);
      const isAboutList = error.code === 'E_FETCH_FAILED' && ABOUT_THE_LIST.has(error.details['status']);
      if (!isAboutList) for (const id of ids) outcomes.set(id, { kind: 'failed', error });
    }
    await askEach(
      ids.filter((id) => !outcomes.has(id)),
      signal,
      outcomes,
    );
  }

  async function askEach(
    ids: readonly string[],
    signal: AbortSignal,
    outcomes: Map<string, FetchOutcome>,
  ): Promise<void> {
    await Promise.all(ids.map(async (id) => outcomes.set(id, await askOne(id, signal))));
  }

  return {
    async fetchMany(requests, signal) {
      const outcomes = new Map<string, FetchOutcome>();
      const listed: string[] = [];
      const single: string[] = [];
      for (const { id } of requests) {
        const reason = one.problemOf(id);
        if (reason !== undefined)
          outcomes.set(id, { kind: 'failed', error: fail('E_ID_INVALID', { reason }) });
        // A source that splits at commas after it has decoded would take such an id for two.
        else (id.includes(',') ? single : listed).push(id);
      }
      const groups = batch === undefined ? listed.map((id) => [id]) : cut(listed, batch.maxIds);
      const work = groups.map((ids) => {
        if (askMany === undefined || ids.length === 1) return askEach(ids, signal, outcomes);
        return askGroup(askMany, ids, signal, outcomes);
      });
      await Promise.all([...work, askEach(single, signal, outcomes)]);
      return requests.map(({ id }) => outcomes.get(id) ?? failedRecord(service, id, 'no answer'));
    },
    close: () => client.close(),
  };
}

function parse(service: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    const reason = text.trim() === '' ? 'it is empty' : reasonOf(thrown);
    throw fail('E_FETCH_NOT_JSON', { service, reason }, { cause: thrown });
  }
}

/** `null` is what careless APIs answer for anything: neither a record, nor proof that there is none. */
function recordOf(service: string, id: string, text: string): FetchOutcome {
  return text === 'null' ? failedRecord(service, id, 'it is null') : { kind: 'record', text };
}

/** An id as messages write it: a string's content, or a number's own digits (9007199254740993 stays what it is). */
function idOf(source: string | undefined): string | undefined {
  if (source === undefined) return undefined;
  if (source.startsWith('"')) return String(JSON.parse(source));
  return /^-?\d/.test(source) ? source : undefined;
}

function cut(ids: readonly string[], size: number): string[][] {
  const groups: string[][] = [];
  for (let at = 0; at < ids.length; at += size) groups.push(ids.slice(at, at + size));
  return groups;
}
