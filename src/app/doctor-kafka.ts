import { createKafkaLook, type SeenBroker, type SeenTopic } from '../adapters/kafka-look.ts';
import type { KafkaConfig } from '../config/schema.ts';
import { deadLetterTopicOf } from '../core/dead-letter.ts';
import type { Log } from '../core/ports.ts';
import { type Finding, found, ok } from './finding.ts';
import { kafkaConnection } from './kafka-connection.ts';

const CHECK = 'kafka';

/** Brokers, their versions, and the topics that are read. */
export async function checkKafka(kafka: KafkaConfig, log: Log): Promise<readonly Finding[]> {
  const look = createKafkaLook(kafkaConnection(kafka, log));
  try {
    const { clusterId, brokers } = await look.cluster();
    const names = kafka.topics.map(({ name }) => name);
    const dead = deadTopicsOf(kafka);
    const topics = await look.topics([...names, ...dead]);
    return [
      ok(CHECK, `cluster ${clusterId}: ${brokers.length} broker(s), ${versionsOf(brokers)}`),
      ...checkSeeds(kafka, brokers),
      ...names.flatMap((name) => checkTopic(name, topics.get(name), brokers.length, 'kafka.topics')),
      ...dead.flatMap((name) =>
        checkTopic(name, topics.get(name), brokers.length, 'kafka.deadLetters.topic'),
      ),
    ];
  } finally {
    await look.close();
  }
}

/** Where dead letters go, if anywhere: they wait in their outbox until these topics are there. */
function deadTopicsOf({ topics, deadLetters }: KafkaConfig): string[] {
  if (deadLetters === undefined) return [];
  const named = topics.map(({ name }) => deadLetterTopicOf(deadLetters.topic, { stream: `${name}-0` }));
  return [...new Set(named)].filter((name) => name !== undefined);
}

function versionsOf(brokers: readonly SeenBroker[]): string {
  const versions = [...new Set(brokers.map(({ version }) => version))];
  return `version ${versions.join(' and ')}`;
}

/** With one address a cluster of many cannot be found while that broker is down. */
function checkSeeds({ brokers: seeds, zookeeper }: KafkaConfig, brokers: readonly SeenBroker[]): Finding[] {
  if (zookeeper !== undefined || brokers.length === 1 || seeds.length > 1) return [];
  const others = brokers.map(({ address }) => address).join(', ');
  const text = `only one of ${brokers.length} brokers is configured: while it is down a start waits`;
  return [found(CHECK, text, `List several under \`kafka.brokers\`: ${others}.`)];
}

function checkTopic(name: string, topic: SeenTopic | undefined, brokers: number, option: string): Finding[] {
  if (topic === undefined) {
    const create = `kafka-topics.sh --bootstrap-server … --create --topic ${name} --partitions 6`;
    return [found(CHECK, `topic ${name} does not exist`, `Create it (${create}), or correct \`${option}\`.`)];
  }
  const { partitions, replicas, underReplicated, leaderless } = topic;
  const findings = [ok(CHECK, `topic ${name}: ${partitions} partition(s), ${replicas} replica(s)`)];
  if (leaderless > 0) {
    findings.push(
      found(
        CHECK,
        `topic ${name}: ${leaderless} partition(s) have no leader`,
        'Start the missing brokers: nothing is read there.',
      ),
    );
  } else if (underReplicated > 0) {
    const text = `topic ${name}: ${underReplicated} partition(s) have replicas that lag`;
    findings.push(found(CHECK, text, 'Look at the brokers: one more failure may stop or lose messages.'));
  }
  if (brokers > 1 && replicas === 1) {
    const text = `topic ${name} has one replica on ${brokers} brokers: it is lost with its broker`;
    findings.push(found(CHECK, text, 'Raise its replication factor to 3 (kafka-reassign-partitions.sh).'));
  }
  return findings;
}
