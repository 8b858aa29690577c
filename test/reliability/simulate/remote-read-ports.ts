/** What the read path of one process asks of Redis: over the network, with its delays and faults. */
import { createMemoryInvalidationLog } from '../../../src/adapters/memory-invalidation-log.ts';
import { fail } from '../../../src/core/errors.ts';
import type { Clock, InvalidationLog, ReadLeases } from '../../../src/core/ports.ts';
import type { Remote } from './remote-ports.ts';
import { LOG_KEYS, type Servers } from './servers.ts';

/**
 * @param clock the world's: it is the server that waits for the next entry
 * @param onLost a call that found the log out of reach
 */
export function remoteLog(
  { process, network }: Remote,
  { log }: Servers,
  clock: Clock,
  onLost: () => void,
): InvalidationLog {
  const near = createMemoryInvalidationLog(log.stream, { maxKeys: LOG_KEYS }, clock);
  const unread = (reason: string): Error => fail('E_UNREACHABLE', { what: 'The log', reason });
  const assertConnected = async (): Promise<void> => {
    await process.awake();
    if (!process.isLogCut) return;
    onLost();
    throw unread('not connected');
  };
  const call = async <T>(port: string, effect: () => Promise<T>): Promise<T> => {
    await assertConnected();
    const answer = await network.call(process, 'redis', port, effect, unread);
    await assertConnected();
    return answer;
  };
  return {
    end: () => call('log.end', () => near.end()),
    read: (after, waitMs) => call('log.read', () => near.read(after, waitMs)),
    announce: (changes) => call('log.announce', () => near.announce(changes)),
    close: () => near.close(),
  };
}

export function remoteLeases({ process, network }: Remote, servers: Servers): ReadLeases {
  const call = <T>(port: string, effect: (leases: ReadLeases) => Promise<T>): Promise<T> =>
    network.call(
      process,
      'redis',
      port,
      () => effect(servers.leases()),
      (reason) => fail('E_REDIS_READ', { reason }),
    );
  return {
    acquire: (keys, token, leaseMs) => call('leases.acquire', (to) => to.acquire(keys, token, leaseMs)),
    look: (key) => call('leases.look', (to) => to.look(key)),
    renew: (keys, token, leaseMs) => call('leases.renew', (to) => to.renew(keys, token, leaseMs)),
    release: (key, token, word) => call('leases.release', (to) => to.release(key, token, word)),
  };
}
