import { createServer, type RequestListener } from 'node:http';
import { Client } from 'pg';
import { describe, expect, it, onTestFinished } from 'vitest';
import { describeWith } from '../support/needs.ts';
import { startHttpSource } from '../support/servers/http-source.ts';
import { listenOnLoopback } from '../support/servers/loopback.ts';
import { sharedPostgres } from '../support/servers/shared.ts';
import { ask, codes, shopService } from '../support/shop-service.ts';

/** The address of a server that answers as the test says. */
async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  const port = await listenOnLoopback(server);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${port}`;
}

describe('a source as a configuration composes it', () => {
  it('calls a source that hangs a timeout of the source, even where the effect has the same', async () => {
    const shops = await startHttpSource({ slowMs: 60_000 });
    onTestFinished(() => shops.stop());
    shops.setMode('slow');
    const service = shopService('shops', shops.url, {
      worker: { effectTimeoutMs: 600 },
      source: { timeoutMs: 600, breaker: { failures: 1 } },
    });
    expect(codes(await ask(service, ['1', '2']))).toEqual(['E_FETCH_TIMEOUT', 'E_FETCH_TIMEOUT']);
    expect(codes(await ask(service, ['1']))).toEqual(['E_SOURCE_OPEN']);
  });

  it('keeps what a fetch was answered when the rest does not come in time', async () => {
    const url = await serve((request, response) => {
      if (request.url?.includes('ids=') !== true) return;
      const timer = setTimeout(() => response.end('{"data":[{"id":"1","version":1}]}'), 500);
      response.once('close', () => clearTimeout(timer));
    });
    const service = shopService('shops', url, {
      worker: { effectTimeoutMs: 1_000 },
      source: { timeoutMs: 1_000 },
    });
    expect(codes(await ask(service, ['1', '2']))).toEqual(['record', 'E_ABORTED']);
  });

  it('does not take a dying source for an empty one: ids that failed do not count as there', async () => {
    const url = await serve((request, response) => {
      const id = Number(/\d+$/.exec(request.url ?? '')?.[0]);
      response.writeHead(id < 60 ? 500 : 404).end();
    });
    const service = shopService('shops', url, {
      source: { batch: undefined, breaker: { failures: 1_000 } },
    });
    const ids = Array.from({ length: 100 }, (_, index) => String(index));
    const outcomes = codes(await ask(service, ids));
    expect(outcomes.filter((code) => code === 'E_FETCH_FAILED')).toHaveLength(60);
    expect(outcomes.filter((code) => code === 'E_SUSPICIOUS_ABSENCE')).toHaveLength(40);
  });
});

describeWith(['postgres'], 'a Postgres source as a configuration composes it', () => {
  it('finds what is gone beside ids that the cast refuses or spells in another way', async () => {
    const url = await sharedPostgres();
    const client = new Client({ connectionString: url });
    await client.connect();
    onTestFinished(() => client.end());
    await client.query('create table stock (id bigint primary key, version bigint not null)');
    await client.query('insert into stock values (7, 1), (9007199254740993, 2)');
    const query =
      'select s.id, s.version::text as version, to_jsonb(s) as record from stock s where s.id = any($1::bigint[])';
    const service = shopService('stock', '', { source: { type: 'postgres', url, query } });
    const outcomes = await ask(service, ['7', 'abc', '007', '8', '9007199254740993']);
    expect(codes(outcomes)).toEqual(['record', 'E_FETCH_FAILED', 'E_FETCH_FAILED', 'absent', 'record']);
    // Without the cast's refusal, which has the others asked in halves, one row of another spelling is in every answer.
    const ids = ['9007199254740993', '007', '8'];
    expect(codes(await ask(service, ids))).toEqual(['record', 'E_FETCH_FAILED', 'absent']);
    expect(outcomes[4]).toEqual({
      kind: 'record',
      text: '{"id": 9007199254740993, "version": 2}',
      version: '2',
    });
  });
});
