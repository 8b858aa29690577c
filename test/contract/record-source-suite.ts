import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { requestsFor } from '../support/calls.ts';
import { waitFor } from '../support/servers/process.ts';
import type { GuardOptions } from '../../src/adapters/guarded-source.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { FetchOutcome, RecordSource } from '../../src/core/ports.ts';

/** What a suite does to the source behind the adapter. */
export interface SourceProbe {
  put(id: string, json: string): Promise<void> | void;
  delete(id: string): Promise<void> | void;
  /** From now on this record cannot be read, though others can. */
  spoil(id: string): Promise<void> | void;
  /** Answers take `ms` from now on. */
  delay(ms: number): Promise<void> | void;
  /** Nobody answers any more, or somebody does again. */
  takeDown(): Promise<void> | void;
  bringUp(): Promise<void> | void;
  /** Calls that are being worked on by the source right now. */
  underWay(): Promise<number> | number;
}

export interface OpenSource {
  readonly source: RecordSource;
  readonly probe: SourceProbe;
  close(): Promise<void>;
}

export const suiteLimits: GuardOptions = {
  service: 'shops',
  timeoutMs: 5_000,
  concurrency: 4,
  perSecond: undefined,
  breaker: { failures: 1_000, halfOpenAfterMs: 100 },
  effectTimeoutMs: 150_000,
  maxAbsentRatio: 1,
  clock: systemClock(),
};

/** Ids that would lead elsewhere, split, or break, were they not encoded. */
const ODD_IDS = [
  'a/b',
  'a?b=c',
  'a#b',
  'a&b=c',
  'a,b',
  '%2e%2e',
  '%2f',
  'a b',
  'a+b',
  "'; drop table shops; --",
  '{1,2}',
  '"quoted"',
  'back\\slash',
  'Zürich',
  '日本',
  '🛒',
  'a\nb',
  '$1',
  "$&$'",
  '__proto__',
  'constructor',
];

/** What every source of records promises; called once per adapter, each behind the guard. */
export function recordSourceSuite(name: string, open: (limits: GuardOptions) => Promise<OpenSource>): void {
  describe(`record source: ${name}`, () => {
    let opened: OpenSource;
    let source: RecordSource;
    let probe: SourceProbe;
    const reopen = async (limits: Partial<GuardOptions> = {}): Promise<void> => {
      opened = await open({ ...suiteLimits, ...limits });
      ({ source, probe } = opened);
    };
    beforeEach(() => reopen());
    afterEach(() => opened.close());

    const never = new AbortController().signal;
    const fetchIds = (ids: readonly string[], signal = never): Promise<FetchOutcome[]> =>
      source.fetchMany(
        ids.map((id) => ({ id })),
        signal,
      );
    const codes = (outcomes: readonly FetchOutcome[]): string[] =>
      outcomes.map((outcome) => (outcome.kind === 'failed' ? outcome.error.code : outcome.kind));

    it('answers in the order of the requests, whatever the order of the source', async () => {
      for (const id of ['1', '2', '3']) await probe.put(id, `{"id":"${id}"}`);
      const expected = ['3', '1', '2'].map((id) => ({ kind: 'record', text: `{"id":"${id}"}` }));
      expect(await fetchIds(['3', '1', '2'])).toEqual(expected);
    });

    it('answers nothing when nothing is asked', async () => {
      await probe.takeDown();
      expect(await fetchIds([])).toEqual([]);
    });

    it('gives every record as it came, byte for byte', async () => {
      const texts: Readonly<Record<string, string>> = {
        '1': '{"id":"1","version":9007199254740993,"price":1.10,"tiny":1e-7}',
        '2': '{ "id" : "2", "a" : [ 1,2 ] ,"name":"\\u00e9 é \\ud83d\\uded2 🛒" }',
        '3': '{"id":"3","a":1,"a":2,"__proto__":{"b":1}}',
      };
      for (const [id, text] of Object.entries(texts)) await probe.put(id, text);
      expect(await fetchIds(Object.keys(texts))).toEqual(
        Object.values(texts).map((text) => ({ kind: 'record', text })),
      );
    });

    it('tells ids apart that are beyond 2^53, and numbers from texts like them', async () => {
      const ids = ['9007199254740992', '9007199254740993', '12345678901234567890'];
      for (const id of ids) await probe.put(id, `{"id":${id}}`);
      expect(await fetchIds(ids)).toEqual(ids.map((id) => ({ kind: 'record', text: `{"id":${id}}` })));
    });

    it('says absent for what is not there, alone and among others', async () => {
      await probe.put('1', '{"id":"1"}');
      await probe.put('2', '{"id":"2"}');
      await probe.delete('2');
      expect(codes(await fetchIds(['2']))).toEqual(['absent']);
      expect(codes(await fetchIds(['0', '1', '2']))).toEqual(['absent', 'record', 'absent']);
    });

    it('reads records of odd ids, and only those', async () => {
      for (const id of ODD_IDS) await probe.put(id, JSON.stringify({ id }));
      expect(await fetchIds(ODD_IDS)).toEqual(
        ODD_IDS.map((id) => ({ kind: 'record', text: JSON.stringify({ id }) })),
      );
      for (const id of ODD_IDS.slice(0, 6)) {
        await probe.delete(id);
        expect(codes(await fetchIds([id]))).toEqual(['absent']);
      }
    });

    it('lets one bad record fail alone', async () => {
      for (const { id } of requestsFor(10)) await probe.put(id, `{"id":"${id}"}`);
      await probe.spoil('7');
      const outcomes = codes(await fetchIds(requestsFor(10).map(({ id }) => id)));
      expect(outcomes.filter((code) => code === 'record')).toHaveLength(9);
      expect(outcomes[7]).toMatch(/^E_(FETCH|RECORD)_/);
    });

    it('reads hundreds of records at once', async () => {
      const ids = requestsFor(500).map(({ id }) => id);
      for (const id of ids) await probe.put(id, `{"id":"${id}"}`);
      expect(await fetchIds(ids)).toEqual(ids.map((id) => ({ kind: 'record', text: `{"id":"${id}"}` })));
    });

    it('reads anew each time', async () => {
      await probe.put('1', '{"id":"1","v":1}');
      await fetchIds(['1']);
      await probe.put('1', '{"id":"1","v":2}');
      expect(await fetchIds(['1'])).toEqual([{ kind: 'record', text: '{"id":"1","v":2}' }]);
    });

    it('stops at the source when the signal fires, and answers at once', async () => {
      await probe.put('1', '{"id":"1"}');
      await probe.put('2', '{"id":"2"}');
      await probe.delay(60_000);
      const stop = new AbortController();
      const fetched = fetchIds(['1', '2'], stop.signal);
      await waitFor(async () => (await probe.underWay()) > 0, { what: 'the call to arrive' });
      const stoppedMs = performance.now();
      stop.abort(new Error('shutting down'));
      expect(codes(await fetched)).toEqual(['E_ABORTED', 'E_ABORTED']);
      expect(performance.now() - stoppedMs).toBeLessThan(500);
      await waitFor(async () => (await probe.underWay()) === 0, {
        what: 'the source to stop',
        timeoutMs: 2_000,
      });
    });

    it('asks nothing when the signal has fired before', async () => {
      await probe.put('1', '{"id":"1"}');
      expect(codes(await fetchIds(['1'], AbortSignal.abort(new Error('shutting down'))))).toEqual([
        'E_ABORTED',
      ]);
      expect(await probe.underWay()).toBe(0);
    });

    it('stops at the source when the time is up, and goes on with the next call', async () => {
      await opened.close();
      await reopen({ timeoutMs: 300 });
      await probe.put('1', '{"id":"1"}');
      await probe.delay(60_000);
      expect(codes(await fetchIds(['1']))).toEqual(['E_FETCH_TIMEOUT']);
      await waitFor(async () => (await probe.underWay()) === 0, {
        what: 'the source to stop',
        timeoutMs: 2_000,
      });
      await probe.delay(0);
      expect(codes(await fetchIds(['1']))).toEqual(['record']);
    });

    it('fails every id while the source is down, and reads again when it is up', async () => {
      await probe.put('1', '{"id":"1"}');
      await fetchIds(['1']);
      await probe.takeDown();
      const failed = await fetchIds(['1', '2']);
      expect(codes(failed)).toEqual(['E_FETCH_FAILED', 'E_FETCH_FAILED']);
      for (const outcome of failed) {
        const error = outcome.kind === 'failed' ? outcome.error : undefined;
        expect(error?.details['outage']).toBe(true);
        expect(String(error?.details['reason'])).not.toBe('');
      }
      await probe.bringUp();
      expect(codes(await fetchIds(['1', '2']))).toEqual(['record', 'absent']);
    });

    it('opens its breaker while the source is down, and closes it by itself', async () => {
      await opened.close();
      await reopen({ breaker: { failures: 2, halfOpenAfterMs: 200 } });
      await probe.put('1', '{"id":"1"}');
      await probe.takeDown();
      await fetchIds(['1']);
      await fetchIds(['1']);
      expect(codes(await fetchIds(['1']))).toEqual(['E_SOURCE_OPEN']);
      await probe.bringUp();
      await waitFor(async () => codes(await fetchIds(['1']))[0] === 'record', {
        what: 'the breaker to close',
      });
    });

    it('can be closed twice', async () => {
      const closedTwice = source.close().then(() => source.close());
      await expect(closedTwice.then(() => 'closed')).resolves.toBe('closed');
    });
  });
}
