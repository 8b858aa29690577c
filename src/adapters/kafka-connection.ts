import type { ConnectionOptions } from 'node:tls';
import { Kafka, logLevel, type SASLOptions } from 'kafkajs';
import { asError, CachewrightError, fail, reasonOf } from '../core/errors.ts';
import type { Log } from '../core/ports.ts';
import { installKafkaCodecs } from './kafka-codecs.ts';
import { patchIdleKafka } from './kafka-idle-patch.ts';
import { kafkaLog, type KafkaLine } from './kafka-log.ts';
import { createZookeeperDiscovery, type ListenerProtocol } from './kafka-zookeeper.ts';

export interface KafkaSasl {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512';
  readonly username: string;
  readonly password: string;
}

/** How to reach a Kafka cluster; needs `brokers` or `zookeeper`. */
export interface KafkaConnectionOptions {
  /** `host:port`, several for the case that some are down at start. */
  readonly brokers?: readonly string[];
  /** `host:port,host:port/chroot` of the cluster's ZooKeeper: the brokers registered there are used. */
  readonly zookeeper?: string;
  /** True, or TLS settings such as `ca`. @defaultValue false */
  readonly ssl?: boolean | ConnectionOptions;
  readonly sasl?: KafkaSasl | undefined;
  /** Shown in the brokers' logs and quotas. @defaultValue 'cachewright' */
  readonly clientId?: string;
  /**
   * The most one compressed batch may unpack to, bytes. A consumer waits in front of a larger one rather than run out
   * of memory. @defaultValue 67_108_864
   */
  readonly maxUnpackedBytes?: number;
  readonly log: Log;
}

const CONNECT_TIMEOUT_MS = 3_000;
/** A broker that stops answering (paused, partitioned) is given up after this. Joins and fetches have longer ones of their own. */
const REQUEST_TIMEOUT_MS = 15_000;

/**
 * Makes a kafkajs client: idle connections patched, our codecs installed, its log lines in our log.
 *
 * @param onLine sees every line of kafkajs from level info on
 */
export function createKafkaClient(
  options: KafkaConnectionOptions,
  onLine: KafkaLine = () => undefined,
): Kafka {
  const { ssl = false, sasl, clientId = 'cachewright', maxUnpackedBytes = 64 * 1_024 * 1_024, log } = options;
  patchIdleKafka();
  installKafkaCodecs(maxUnpackedBytes);
  return new Kafka({
    clientId,
    brokers: brokersOf(options),
    ssl,
    ...(sasl !== undefined && { sasl: saslOf(sasl) }),
    connectionTimeout: CONNECT_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    retry: { initialRetryTime: 200, maxRetryTime: 2_000, retries: 6 },
    logLevel: logLevel.INFO,
    logCreator: kafkaLog(log, sasl?.password ?? '', onLine),
  });
}

/** What a start is told when Kafka does not let us in; undefined when waiting may help. */
export function refusalOf(error: unknown): CachewrightError | undefined {
  for (const each of causes(error)) {
    if (each instanceof CachewrightError) return each.outcome === 'refuse' ? each : undefined;
    const name = each instanceof Error ? each.name : '';
    const type = each instanceof Error && 'type' in each ? String(each.type) : '';
    if (
      name === 'KafkaJSSASLAuthenticationError' ||
      type.endsWith('_AUTHORIZATION_FAILED') ||
      type === 'SASL_AUTHENTICATION_FAILED'
    ) {
      return fail('E_KAFKA_AUTH', { reason: reasonOf(each) }, { cause: error });
    }
  }
  return undefined;
}

/** An error of kafkajs as one of the catalogue. */
export function kafkaFault(
  error: unknown,
  what: { readonly brokers: string; readonly topics: string },
): CachewrightError {
  const refusal = refusalOf(error);
  if (refusal !== undefined) return refusal;
  for (const each of causes(error)) {
    if (each instanceof CachewrightError)
      return fail(each.code, { topic: what.topics, ...each.details }, { cause: error });
    const type = each instanceof Error && 'type' in each ? each.type : '';
    if (type === 'UNKNOWN_TOPIC_OR_PARTITION')
      return fail('E_TOPIC_MISSING', { topic: what.topics }, { cause: error });
    if (each instanceof Error && each.name.startsWith('KafkaJSConnection')) {
      return fail(
        'E_UNREACHABLE',
        { what: `Kafka at ${what.brokers}`, reason: reasonOf(each) },
        { cause: error },
      );
    }
  }
  return asError(error);
}

/** Where the client looks for brokers, for messages. */
export function describeBrokers({ brokers = [], zookeeper }: KafkaConnectionOptions): string {
  return zookeeper === undefined ? brokers.join(', ') : `the brokers registered in ZooKeeper ${zookeeper}`;
}

function* causes(error: unknown): Generator {
  for (let at = error, depth = 0; at !== undefined && at !== null && depth < 10; depth += 1) {
    yield at;
    at = at instanceof Error ? at.cause : undefined;
  }
}

function brokersOf({
  brokers = [],
  zookeeper,
  ssl = false,
  sasl,
  log,
}: KafkaConnectionOptions): string[] | (() => Promise<string[]>) {
  if (zookeeper === undefined) return [...brokers];
  const protocol: ListenerProtocol =
    sasl === undefined
      ? ssl === false
        ? 'PLAINTEXT'
        : 'SSL'
      : ssl === false
        ? 'SASL_PLAINTEXT'
        : 'SASL_SSL';
  return createZookeeperDiscovery({ connect: zookeeper, protocol, fallback: brokers, log });
}

function saslOf({ mechanism, username, password }: KafkaSasl): SASLOptions {
  return { mechanism, username, password };
}
