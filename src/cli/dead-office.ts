import { changeMessage, compileChart, machineName } from '../../machines/index.ts';
import { createRedisTierView } from '../adapters/redis-tier.ts';
import { openDeadLetterOffice } from '../app/dead-letter-office.ts';
import { openQueueShards } from '../app/queue-shards.ts';
import { compileMappings, compileServices } from '../app/services.ts';
import { withRedis } from '../app/with-redis.ts';
import type { Config } from '../config/schema.ts';
import { systemClock } from '../core/clock.ts';
import type { DeadLetterOffice } from '../core/dead-letter.ts';
import type { GlobalOptions } from './command.ts';
import { createRemoteOffice } from './dead-remote.ts';
import { loadSettings } from './settings.ts';
import { silentLog } from './silent-log.ts';

/**
 * Opens the office of dead letters and works: that of the instance at `--url`, else over connections of this command, for which no
 * instance has to run.
 */
export async function openOffice<Result>(
  options: GlobalOptions,
  work: (office: DeadLetterOffice, config: Config) => Promise<Result>,
): Promise<Result> {
  const { config } = await loadSettings(options);
  if (options.url !== undefined) return work(createRemoteOffice(options.url, config.http.tokens), config);
  const { redis: at, queue: settings } = config;
  const clock = systemClock();
  const chart = compileChart(changeMessage);
  const services = compileServices(config, clock);
  return withRedis(at.url, at.commandTimeoutMs, (redis) =>
    withRedis(at.cache.url, at.commandTimeoutMs, async (cache) => {
      const shards = openQueueShards({ config, redis, log: silentLog });
      const { queue } = shards;
      const office = openDeadLetterOffice({
        chart,
        machine: machineName(chart),
        services,
        mappingOf: compileMappings(config),
        limits: {
          ...config.limits,
          maxChunkMessages: settings.maxChunkMessages,
          maxChunkBytes: settings.maxChunkBytes,
        },
        redisTier: createRedisTierView(cache),
        effectTimeoutMs: config.worker.effectTimeoutMs,
        box: shards.letters(clock),
        queue,
        maxRedrives: config.deadLetters.maxRedrives,
        clock,
        log: silentLog,
      });
      try {
        return await work(office, config);
      } finally {
        await office.close();
        await queue.close();
        await Promise.all([...services.values()].map(({ source }) => source.close()));
      }
    }),
  );
}
