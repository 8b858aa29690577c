import { Queue } from 'bullmq';
import type { Cluster, Redis } from 'ioredis';
import { reasonOf } from '../core/errors.ts';
import type { Log } from '../core/ports.ts';

/** Queues as the queue board looks at them. Connected when first asked; the connection belongs to the caller. */
export function openQueueViews(
  names: readonly string[],
  options: { readonly connection: Redis | Cluster; readonly prefix: string; readonly log: Log },
): Queue[] {
  const { connection, prefix, log } = options;
  return names.map((name) => {
    const queue = new Queue(name, { connection, prefix });
    queue.on('error', (error) => log.debug({ reason: reasonOf(error) }, 'queue board'));
    return queue;
  });
}
