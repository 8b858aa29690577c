import { inspect } from 'node:util';
import { Client } from 'pg';
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest';
import { requestsFor } from '../support/calls.ts';
import { codes, fetchIds, messageOf, never } from '../support/http-records.ts';
import { describeWith } from '../support/needs.ts';
import { waitFor } from '../support/servers/process.ts';
import { sharedPostgres } from '../support/servers/shared.ts';
import { type GuardOptions, guardSource } from '../../src/adapters/guarded-source.ts';
import { createPostgresRecords, type PostgresRecordsOptions } from '../../src/adapters/postgres-records.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { RecordSource } from '../../src/core/ports.ts';

/** The query of the configuration in our README. */
const QUERY = `select s.id, s.version::text as version, to_jsonb(s) as record from stock s where s.id = any($1::bigint[])`;

const limits: GuardOptions = {
  service: 'stockService',
  timeoutMs: 3_000,
  effectTimeoutMs: 10_000,
  concurrency: 4,
  perSecond: undefined,
  breaker: { failures: 1_000, halfOpenAfterMs: 100 },
  maxAbsentRatio: 1,
  clock: systemClock(),
};

describeWith(['postgres'], 'a Postgres source', () => {
  let url = '';
  let direct: Client;
  beforeAll(async () => {
    url = await sharedPostgres();
    direct = new Client({ connectionString: url });
    await direct.connect();
    await direct.query(`
      create table stock (id bigint primary key, version bigint not null, pieces numeric);
      insert into stock select n, n * 10, n / 4.0 from generate_series(1, 1000) n;
      insert into stock values (9007199254740993, 9223372036854775807, 12345678901234567890.10);
      create table parcels (id uuid primary key, record jsonb);
      insert into parcels values ('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a":1}'),
        ('b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'null'), ('c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', null);`);
  });
  afterAll(() => direct.end());

  function opened(options: Partial<PostgresRecordsOptions> = {}): RecordSource {
    const source = guardSource(
      (guarded) => createPostgresRecords({ ...guarded, url, query: QUERY, ...options }),
      limits,
    );
    onTestFinished(() => source.close());
    return source;
  }

  it('gives records and versions as Postgres writes them, numbers of any size', async () => {
    expect(await fetchIds(opened(), '9007199254740993', '4')).toEqual([
      {
        kind: 'record',
        text: '{"id": 9007199254740993, "pieces": 12345678901234567890.10, "version": 9223372036854775807}',
        version: '9223372036854775807',
      },
      {
        kind: 'record',
        text: '{"id": 4, "pieces": 1.00000000000000000000, "version": 40}',
        version: '40',
      },
    ]);
  });

  it('reads a thousand ids at once, and says absent for rows that are not there', async () => {
    const outcomes = await opened().fetchMany(requestsFor(1_001), never);
    expect(codes(outcomes).filter((code) => code === 'record')).toHaveLength(1_000);
    expect(codes(outcomes)[0]).toBe('absent');
  });

  it.each(['abc', '1.5', '', '99999999999999999999', '1\u0000', '{1,2}', '1); drop table stock; --'])(
    'lets an id that cannot be cast, %j, fail alone and names it',
    async (bad) => {
      const ids = ['1', '2', '3', bad, '4', '5', 'xyz'];
      const outcomes = await fetchIds(opened(), ...ids);
      expect(codes(outcomes)).toEqual(
        ids.map((id) => (id === bad || id === 'xyz' ? 'E_FETCH_FAILED' : 'record')),
      );
      expect(messageOf(outcomes[3])).toContain(`for the id ${JSON.stringify(bad)}`);
      expect(codes(await fetchIds(opened(), bad))).toEqual(['E_FETCH_FAILED']);
    },
  );

  it('takes no record as gone when rows come under another spelling of their id', async () => {
    const outcomes = await fetchIds(opened(), '007', '8');
    expect(codes(outcomes)).toEqual(['E_FETCH_FAILED', 'record']);
    expect(messageOf(outcomes[0])).toMatch(/ids as messages write them/);
    const parcels = opened({ query: 'select id, record from parcels where id = any($1::uuid[])' });
    const upper = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11';
    expect(codes(await fetchIds(parcels, upper))).toEqual(['E_FETCH_FAILED']);
    expect(codes(await fetchIds(parcels, upper.toLowerCase()))).toEqual(['record']);
  });

  it('takes a record that is null for no record, and for no proof of absence', async () => {
    const parcels = opened({ query: 'select id, record from parcels where id = any($1::uuid[])' });
    const ids = ['b0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 'c0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'];
    expect(codes(await fetchIds(parcels, ...ids))).toEqual(['E_RECORD_INVALID', 'E_RECORD_INVALID']);
  });

  it('does not choose between two rows of one id, unless they are the same', async () => {
    const twice = opened({
      query: `select s.id, n as version, to_jsonb(s.id) as record from stock s, (values (1), (2)) as v (n)
        where s.id = any($1::bigint[]) and (s.id = 1 or n = 1)`,
    });
    expect(codes(await fetchIds(twice, '1', '2'))).toEqual(['E_RECORD_INVALID', 'record']);
  });

  it('says which column its query lacks, even without rows', async () => {
    const query = 'select id, version from stock where id = any($1::bigint[])';
    expect(messageOf((await fetchIds(opened({ query }), '0'))[0])).toMatch(/no column "record"/);
    expect(messageOf((await fetchIds(opened({ query, id: 'shop' }), '1'))[0])).toMatch(/no column "shop"/);
  });

  it('fails every id when the query is wrong, without calling it an outage', async () => {
    const outcomes = await fetchIds(opened({ query: 'selec id from stock where id = any($1)' }), '1', '2');
    expect(codes(outcomes)).toEqual(['E_FETCH_FAILED', 'E_FETCH_FAILED']);
    expect(messageOf(outcomes[0])).toMatch(/syntax error/);
    const [first] = outcomes;
    expect(first?.kind === 'failed' && first.error.details['outage']).toBe(undefined);
  });

  it('never shows the password', async () => {
    const secret = 'sehr-geheim';
    const addresses = [
      url.replace('postgres@', `nobody:${secret}@`),
      `postgres://nobody:${secret}@127.0.0.1:1/stock`,
      `postgres://nobody:${secret}@no-such-host.invalid:5432/stock`,
      `postgres://nobody:${secret}@127.0.0.1:1/stock?sslmode=nonsense`,
    ];
    for (const address of addresses) {
      const outcomes = await fetchIds(opened({ url: address }), '1');
      expect(codes(outcomes)).toEqual(['E_FETCH_FAILED']);
      expect(inspect(outcomes, { depth: 20, showHidden: true })).not.toContain(secret);
    }
  });

  it('survives that the server drops its connections, idle or busy', async () => {
    const source = opened({
      query: `${QUERY} and pg_sleep(case when s.id = 2 then 60 else 0 end) is not null`,
    });
    const drop = (): Promise<unknown> =>
      direct.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cachewright stockService'`,
      );
    const busy = async (): Promise<boolean> =>
      (
        await direct.query(`select from pg_stat_activity where state = 'active' and query like '%pg_sleep(case%'
        and pid <> pg_backend_pid()`)
      ).rowCount === 1;
    expect(codes(await fetchIds(source, '1'))).toEqual(['record']);
    await drop();
    await waitFor(async () => codes(await fetchIds(source, '1'))[0] === 'record', {
      what: 'a new connection',
    });
    const fetched = fetchIds(source, '2');
    await waitFor(busy, { what: 'the query' });
    await drop();
    const [outcome] = await fetched;
    expect(outcome?.kind === 'failed' && outcome.error.details['outage']).toBe(true);
    await waitFor(async () => codes(await fetchIds(source, '1'))[0] === 'record', {
      what: 'a new connection',
    });
  });
});
