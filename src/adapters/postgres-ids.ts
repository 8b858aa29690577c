import { Client } from 'pg';
import { fail, reasonOf } from '../core/errors.ts';

/** Rows fetched at once. */
const ROWS = 10_000;
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * The first column of a query's rows, as text, read through a cursor in a read-only transaction.
 *
 * @param url its password appears in no error
 * @throws `E_UNREACHABLE`; `E_USAGE` for a query that Postgres refuses
 */
export async function* idsOfQuery(url: string, query: string): AsyncGenerator<string> {
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    application_name: 'cachewright warm',
    types: { getTypeParser: () => (text: string) => text },
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (thrown) {
    throw fail('E_UNREACHABLE', { what: "The service's Postgres", reason: reasonOf(thrown) });
  }
  try {
    await client.query('begin read only');
    await client.query(`declare ids no scroll cursor for ${query.replace(/;\s*$/, '')}`);
    for (;;) {
      const { rows } = await client.query<(string | null)[]>({
        text: `fetch ${ROWS} from ids`,
        rowMode: 'array',
      });
      if (rows.length === 0) return;
      for (const [id] of rows) if (id !== undefined && id !== null) yield id;
    }
  } catch (thrown) {
    throw fail('E_USAGE', { reason: `The query failed: ${reasonOf(thrown)}.` }, { cause: thrown });
  } finally {
    await client.end().catch(() => undefined);
  }
}
