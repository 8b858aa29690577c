import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { patchIdleKafka } from '../../src/adapters/kafka-idle-patch.ts';
import { ensure, installCommand, missingOf } from '../../test/support/servers/debian.ts';
import { type HttpSource, startHttpSource } from '../../test/support/servers/http-source.ts';
import { type KafkaCluster, startKafka } from '../../test/support/servers/kafka.ts';
import { ensureKafkaJars, hasKafkaJars } from '../../test/support/servers/kafka-jars.ts';
import { freePort, privateDir } from '../../test/support/servers/process.ts';
import { type RedisServer, startRedis } from '../../test/support/servers/redis.ts';
import { demoConfig, TOPIC } from './config.ts';
import type { Ending } from './ending.ts';
import { print, progress, yellow } from './screen.ts';
import { startService } from './service.ts';

/** Everything the demo plays on: private servers on free ports, in folders of their own, and the service in front. */
export interface Stage {
  readonly redis: RedisServer;
  /** Undefined where Kafka cannot be had: messages then go in by HTTP and NDJSON. */
  readonly kafka: KafkaCluster | undefined;
  /** The API that shopInfoService fetches from. */
  readonly shops: HttpSource;
  readonly configFile: string;
  /** Of the service. */
  readonly url: string;
}

/** Brings up what is missing. What it starts ends with the `ending`. */
export async function buildStage(
  options: { readonly wantsKafka: boolean; readonly onLine: (line: string) => void },
  ending: Ending,
): Promise<Stage> {
  const redis = await raiseRedis(ending);
  const kafka = options.wantsKafka ? await raiseKafka(ending) : undefined;
  const shops = await progress('a small HTTP API with shops', () => startHttpSource());
  ending.closeLater('the HTTP API', () => shops.stop());

  const dir = privateDir('demo');
  const port = await freePort();
  const configFile = join(dir, 'cachewright.config.json');
  writeFileSync(join(dir, 'shop-token'), 'Bearer demo-token');
  writeFileSync(
    configFile,
    demoConfig({ redis: redis.url, brokers: kafka?.brokers, shops: shops.url, port }),
  );
  await progress('the service: npm run -s cachewright -- start', async () => {
    const service = await startService(configFile, options.onLine);
    ending.closeLater('the service', () => service.stop());
  });
  return { redis, kafka, shops, configFile, url: `http://127.0.0.1:${port}` };
}

async function raiseRedis(ending: Ending): Promise<RedisServer> {
  if (missingOf(['redis-server']).length > 0) {
    await progress('Redis from its Debian package; no system service is started', async () => installRedis());
  }
  const redis = await progress('Redis, private, with an append-only file', () =>
    startRedis({ appendonly: true }),
  );
  ending.closeLater('Redis', () => redis.stop());
  return redis;
}

function installRedis(): void {
  const missing = ensure(['redis-server']);
  if (missing.length === 0) return;
  throw new Error(`The demo needs Redis, and cannot install it here. As root: ${installCommand(missing)}`);
}

async function raiseKafka(ending: Ending): Promise<KafkaCluster | undefined> {
  const missing = missingOf(
    hasKafkaJars('4.3.1') ? ['default-jre-headless'] : ['default-jre-headless', 'maven'],
  );
  if (missing.length > 0) return withoutKafka(`that needs ${installCommand(missing)}`);
  patchIdleKafka();
  try {
    if (!hasKafkaJars('4.3.1')) {
      await progress('Kafka 4.3.1 from Maven Central, 54 MB, the first time only', () =>
        ensureKafkaJars('4.3.1'),
      );
    }
    const kafka = await progress('three Kafka brokers (KRaft, Kafka 4.3.1)', () =>
      startKafka({ brokers: 3, heapMb: 256 }),
    );
    ending.closeLater('Kafka', () => kafka.stop());
    await progress(`topic ${TOPIC}: 3 partitions, 3 replicas`, () =>
      kafka.createTopic(TOPIC, { partitions: 3, replication: 3 }),
    );
    return kafka;
  } catch (error) {
    return withoutKafka(error instanceof Error ? error.message : String(error));
  }
}

function withoutKafka(reason: string): undefined {
  print(yellow(`  ! no Kafka here: ${reason}`));
  print(
    yellow('    The messages go in by HTTP (POST /v1/changes) and as NDJSON (cachewright ingest) instead.'),
  );
}
