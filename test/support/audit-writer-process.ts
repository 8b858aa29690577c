/**
 * A process that moves an outbox into an audit store until it is killed: `URL OUTBOX FILE [before-removal]`. With
 * `before-removal` it stops for ever between the commit and the removal, and says so.
 */
import { connectRedis } from '../../src/adapters/redis-connection.ts';
import { createRedisOutbox } from '../../src/adapters/redis-outbox.ts';
import { createSqliteAudit } from '../../src/adapters/sqlite-audit.ts';
import { createAuditWriter } from '../../src/audit/writer.ts';
import { systemClock } from '../../src/core/clock.ts';

const [url = '', name = '', file = '', stopsAt = ''] = process.argv.slice(2);
const redis = connectRedis({
  url,
  name: 'audit-test',
  connectTimeoutMs: 2_000,
  commandTimeoutMs: 5_000,
  onError: (reason) => console.error(reason),
});
const outbox = createRedisOutbox(redis, name);
const hangs = (): Promise<void> => {
  console.log('stored, not removed');
  return new Promise(() => setInterval(() => undefined, 1_000));
};
await createAuditWriter({
  outbox: stopsAt === 'before-removal' ? { ...outbox, remove: hangs } : outbox,
  store: createSqliteAudit({ file }),
  clock: systemClock(),
  onLag: () => undefined,
  onError: (error) => console.error(error.message),
}).run(new AbortController().signal);
