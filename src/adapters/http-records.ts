import { asError, fail, reasonOf } from '../core/errors.ts';
import { itemsAt, pointerTokens, sliceAt, valueAt } from '../core/json-text.ts';
import type { FetchOutcome, RecordSource } from '../core/ports.ts';
import type { CallGate } from './call-gate.ts';
import { createHttpClient, type HttpClientOptions } from './http-client.ts';

export interface HttpRecordsOptions extends HttpClientOptions {
  /** Address of one record; `{id}` is a whole path segment or query value. */
  readonly url: string;
  /** JSON pointer of the record in the answer for one id. */
  readonly item: string;
  readonly batch: HttpBatch | undefined;
  readonly gate: CallGate;
}

export interface HttpBatch {
  /** `{ids}` becomes the encoded ids, joined by commas. */
  readonly url: string;
  readonly maxIds: number;
  /** JSON pointer of the list in the answer, and of the id in an item. */
  readonly items: string;
  readonly id: string;
  /** What an id that is missing from the answer means. */
  readonly missing: 'ask' | 'absent';
}

/**
 * Records from an HTTP API. The record's text is the exact slice of the answer, so that no number is altered. Batch
 * answers are joined by id, never by position; of two items with one id the last counts, ids nobody asked for are ignored.
 */
export function createHttpRecords(options: HttpRecordsOptions): RecordSource {
  const { service, gate, batch } = options;
  const client = createHttpClient(options);
  const itemTokens = pointerTokens(options.item);

  const single = async (id: string, signal: AbortSignal): Promise<FetchOutcome> => {
    try {
      const url = urlOf(options.url, '{id}', id);
      const answer = await gate.run(signal, (inner) => client.get(url, inner));
      if (answer.kind === 'gone') return { kind: 'absent' };
      const text = itemTokens.length === 0 ? answer.text.trim() : sliceAt(answer.text, itemTokens);
      if (text === undefined) {
        throw fail('E_FETCH_ITEM_UNKNOWN', { service, path: options.item, reason: 'nothing is there' });
      }
      return text === 'null' ? { kind: 'absent' } : { kind: 'record', text };
    } catch (thrown) {
      return { kind: 'failed', error: asError(thrown) };
    }
  };

  const together = async (
    ids: readonly string[],
    by: HttpBatch,
    signal: AbortSignal,
  ): Promise<FetchOutcome[]> => {
    try {
      const url = new URL(by.url.replace('{ids}', ids.map(encodeURIComponent).join(',')));
      const answer = await gate.run(signal, (inner) => client.get(url, inner));
      if (answer.kind === 'gone')
        throw fail('E_FETCH_FAILED', { service, reason: 'status 404 for a batch', outage: false });
      const found = textsById(service, by, answer);
      return await Promise.all(
        ids.map(async (id): Promise<FetchOutcome> => {
          const text = found.get(id);
          if (text !== undefined) return text === 'null' ? { kind: 'absent' } : { kind: 'record', text };
          return by.missing === 'absent' ? { kind: 'absent' } : single(id, signal);
        }),
      );
    } catch (thrown) {
      const error = asError(thrown);
      return ids.map(() => ({ kind: 'failed', error }));
    }
  };

  return {
    async fetchMany(requests, signal) {
      const outcomes = new Map<string, FetchOutcome>();
      // An id with a comma would be two ids to the source once it is decoded.
      const ids = requests.map(({ id }) => id);
      const batched = batch === undefined ? [] : ids.filter((id) => !id.includes(','));
      const singly = batch === undefined || batched.length === 1 ? ids : ids.filter((id) => id.includes(','));
      const calls: Promise<void>[] = singly.map(
        async (id) => void outcomes.set(id, await single(id, signal)),
      );
      if (batch !== undefined && batched.length > 1) {
        for (let from = 0; from < batched.length; from += batch.maxIds) {
          const part = batched.slice(from, from + batch.maxIds);
          calls.push(
            together(part, batch, signal).then((found) => {
              part.forEach((id, index) => outcomes.set(id, found[index] ?? unanswered(service)));
            }),
          );
        }
      }
      await Promise.all(calls);
      return ids.map((id) => outcomes.get(id) ?? unanswered(service));
    },
    close: () => client.close(),
  };
}

function unanswered(service: string): FetchOutcome {
  return { kind: 'failed', error: fail('E_UNEXPECTED', { what: `${service} was not asked` }) };
}

/** No id ever changes the host, the path's other segments or the query: it is one encoded segment or value. */
function urlOf(template: string, placeholder: string, id: string): URL {
  // URLs drop segments of dots, encoded or not, and with them the segment before.
  if (/^\.{1,2}$/.test(id))
    throw fail('E_ID_INVALID', { reason: 'it consists of dots and cannot stand in an address' });
  try {
    return new URL(template.replace(placeholder, encodeURIComponent(id)));
  } catch (thrown) {
    throw fail(
      'E_ID_INVALID',
      { reason: `it cannot stand in an address: ${reasonOf(thrown)}` },
      { cause: thrown },
    );
  }
}

function textsById(
  service: string,
  batch: HttpBatch,
  answer: { text: string; value: unknown },
): Map<string, string> {
  const tokens = pointerTokens(batch.items);
  const list = valueAt(answer.value, tokens);
  if (!Array.isArray(list)) {
    const reason = list === undefined ? 'nothing is there' : `a ${typeof list} is there, not a list`;
    throw fail('E_FETCH_ITEM_UNKNOWN', {
      service,
      path: batch.items === '' ? 'the top' : batch.items,
      reason,
    });
  }
  const idTokens = pointerTokens(batch.id);
  const texts = itemsAt(answer.text, tokens);
  const found = new Map<string, string>();
  list.forEach((item: unknown, index) => {
    const text = texts[index];
    const id = valueAt(item, idTokens);
    if (text === undefined || (typeof id !== 'string' && typeof id !== 'number')) return;
    const isExact = typeof id === 'string' || Number.isSafeInteger(id);
    found.set(isExact ? String(id) : (sliceAt(text, idTokens) ?? String(id)), text);
  });
  return found;
}
