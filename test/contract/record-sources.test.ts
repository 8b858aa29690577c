import { Client } from 'pg';
import { type OpenSource, recordSourceSuite } from './record-source-suite.ts';
import { describeWith } from '../support/needs.ts';
import { startHttpSource } from '../support/servers/http-source.ts';
import { startProxy } from '../support/servers/proxy.ts';
import { sharedPostgres } from '../support/servers/shared.ts';
import { createFunctionRecords } from '../../src/adapters/function-records.ts';
import { type GuardOptions, guardSource } from '../../src/adapters/guarded-source.ts';
import { createHttpRecords, type HttpBatchOptions } from '../../src/adapters/http-records.ts';
import { createMemoryRecords, type MemoryRecords } from '../../src/adapters/memory-records.ts';
import { createPostgresRecords } from '../../src/adapters/postgres-records.ts';
import { systemClock } from '../../src/core/clock.ts';
import { fail } from '../../src/core/errors.ts';

recordSourceSuite('in memory', async (limits) => {
  let memory = createMemoryRecords();
  const source = guardSource(({ gate }) => (memory = createMemoryRecords({ gate })), limits);
  return { source, probe: probeOf(memory), close: () => source.close() };
});

function probeOf(memory: MemoryRecords): OpenSource['probe'] {
  const down = fail('E_FETCH_FAILED', { service: 'shops', reason: 'taken down', outage: true });
  const spoiled = fail('E_FETCH_FAILED', { service: 'shops', reason: 'spoiled' });
  return {
    put: (id, json) => memory.put(id, json),
    delete: (id) => memory.delete(id),
    spoil: (id) => memory.failWith(spoiled, id),
    delay: (ms) => memory.setLatency(ms),
    takeDown: () => memory.failWith(down),
    bringUp: () => memory.failWith(undefined),
    underWay: () => memory.underWay(),
  };
}

/** A world behind functions as users write them. */
function functionWorld() {
  const clock = systemClock();
  const records = new Map<string, string>();
  let state = { delayMs: 0, isDown: false, underWay: 0, spoiled: '' };
  async function read<T>(signal: AbortSignal, answer: () => T): Promise<T> {
    state.underWay += 1;
    try {
      if (state.delayMs > 0) await clock.sleep(state.delayMs, signal);
      if (state.isDown) throw new Error('connect ECONNREFUSED');
      return answer();
    } finally {
      state.underWay -= 1;
    }
  }
  const probe: OpenSource['probe'] = {
    put: (id, json) => void records.set(id, json),
    delete: (id) => void records.delete(id),
    spoil: (id) => void (state.spoiled = id),
    delay: (ms) => void (state.delayMs = ms),
    takeDown: () => void (state.isDown = true),
    bringUp: () => void (state.isDown = false),
    underWay: () => state.underWay,
  };
  const recordOf = (id: string): unknown => (id === state.spoiled ? 'not JSON' : records.get(id));
  return { read, recordOf, probe };
}

recordSourceSuite('a function for one record', async (limits) => {
  const { read, recordOf, probe } = functionWorld();
  const source = guardSource(
    (guarded) =>
      createFunctionRecords({ ...guarded, fetch: (id, signal) => read(signal, () => recordOf(id)) }),
    limits,
  );
  return { source, probe, close: () => source.close() };
});

recordSourceSuite('a function for many records', async (limits) => {
  const { read, recordOf, probe } = functionWorld();
  const source = guardSource(
    (guarded) =>
      createFunctionRecords({
        ...guarded,
        fetchMany: (ids, signal) => read(signal, () => new Map(ids.map((id) => [id, recordOf(id)]))),
      }),
    limits,
  );
  return { source, probe, close: () => source.close() };
});

/** An HTTP source behind a proxy, so that it can be gone without losing its records. */
async function openHttp(
  limits: GuardOptions,
  batch?: (url: string) => HttpBatchOptions,
): Promise<OpenSource> {
  const origin = await startHttpSource({ slowMs: 60_000 });
  const proxy = await startProxy(origin.port);
  const url = `http://127.0.0.1:${proxy.port}`;
  const source = guardSource(
    (guarded) =>
      createHttpRecords({
        ...guarded,
        url: `${url}/shops/{id}`,
        headers: {},
        allowRedirectsTo: [],
        batch: batch?.(url),
      }),
    limits,
  );
  return {
    source,
    probe: {
      put: (id, json) => origin.putText(id, json),
      delete: (id) => origin.delete(id),
      // In a batch a mode would concern all of it; what spoils one record there is to come twice, with other content.
      spoil: (id) =>
        batch === undefined
          ? origin.setMode('garbage', id)
          : origin.putText(id, `{"id":"${id}","is":"this"},{"id":"${id}","is":"that"}`),
      delay: (ms) => origin.setMode(ms === 0 ? 'ok' : 'slow'),
      takeDown: () => proxy.refuse(),
      bringUp: () => proxy.unblock(),
      underWay() {
        origin.resetCounts();
        return origin.maxConcurrency();
      },
    },
    async close() {
      await source.close();
      await proxy.stop();
      await origin.stop();
    },
  };
}

recordSourceSuite('HTTP, one by one', (limits) => openHttp(limits));

recordSourceSuite('HTTP, in batches', (limits) =>
  openHttp(limits, (url) => ({
    url: `${url}/shops?ids={ids}`,
    maxIds: 100,
    items: '/data',
    id: '/id',
    missing: 'ask',
  })),
);

/** Keeps texts as they are (`json`, not `jsonb`), sleeps when told to, and divides by zero for spoiled records. */
const SCHEMA = `
  create table shops (id text primary key, record json not null, spoiled int not null default 1);
  create table naps (seconds float not null);
  insert into naps values (0);`;
const QUERY = `select id, case when 1 / spoiled = 1 then record end as record
  from shops, (select pg_sleep(seconds) from naps) as nap where id = any($1)`;

async function openPostgres(limits: GuardOptions): Promise<OpenSource> {
  const url = await sharedPostgres();
  const proxy = await startProxy(Number(new URL(url).port));
  const direct = new Client({ connectionString: url });
  await direct.connect();
  await direct.query(SCHEMA);
  const through = new URL(url);
  through.port = String(proxy.port);
  const source = guardSource(
    (guarded) =>
      createPostgresRecords({
        ...guarded,
        url: through.href,
        query: QUERY,
      }),
    limits,
  );
  return {
    source,
    probe: {
      put: async (id, json) =>
        void (await direct.query(
          'insert into shops values ($1, $2) on conflict (id) do update set record = excluded.record',
          [id, json],
        )),
      delete: async (id) => void (await direct.query('delete from shops where id = $1', [id])),
      spoil: async (id) => void (await direct.query('update shops set spoiled = 0 where id = $1', [id])),
      delay: async (ms) => void (await direct.query('update naps set seconds = $1', [ms / 1_000])),
      takeDown: () => proxy.refuse(),
      bringUp: () => proxy.unblock(),
      async underWay() {
        const { rows } = await direct.query<{ count: number }>(
          `select count(*)::int from pg_stat_activity
           where datname = current_database() and pid <> pg_backend_pid() and state = 'active'`,
        );
        return rows[0]?.count ?? 0;
      },
    },
    async close() {
      await source.close();
      await direct.end();
      await proxy.stop();
    },
  };
}

describeWith(['postgres'], 'Postgres', () => recordSourceSuite('Postgres', openPostgres));
