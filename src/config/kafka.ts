import { z } from 'zod';
import type { TopicMapping } from '../core/service.ts';
import {
  checkedText,
  duration,
  func,
  integer,
  list,
  maybe,
  oneOf,
  secret,
  section,
  text,
  yesOrNo,
} from './option.ts';
import { checkPointer, POINTER } from './pointer.ts';
import { checkZookeeper, isHostPort } from './urls.ts';

const pointer = (doc: string): z.ZodString => checkedText(doc, POINTER, checkPointer);

const idPlace = (doc: string): z.ZodString =>
  checkedText(doc, `${POINTER}, or "key"`, (value) => (value === 'key' ? undefined : checkPointer(value)));

const TOPIC_NAME = 'the name of a topic: at most 249 letters, digits, ".", "_" and "-"';

const topicName = (doc: string): z.ZodString =>
  checkedText(doc, TOPIC_NAME, (value) =>
    /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/.test(value) ? undefined : `allowed is ${TOPIC_NAME}`,
  );

const topic = section(
  {
    name: topicName(
      'Name of the topic. Patterns are not known: a topic that is created later would not be noticed.',
    ),
    service: maybe(
      text(
        'Every message of this topic belongs to this service. Without it a message names its own in `serviceId`.',
      ),
    ),
    id: z
      .union([
        idPlace('Where the id of the record stands; `"key"`: it is the text of the Kafka key.'),
        list(
          pointer('One place of the id.'),
          'Places tried in order until one has a value: `["/after/id", "/before/id"]` also reads Debezium\'s deletes.',
          1,
        ),
      ])
      .prefault('/id'),
    op: pointer(
      "Where the operation stands: `upsert` or `delete`, or Debezium's `c`, `r`, `u`, `d`. A missing field means upsert.",
    ).prefault('/op'),
    record: maybe(
      pointer(
        'Where the record stands inside the message (Debezium: `/after`). Without it the whole message is the record.',
      ),
    ),
    nullValue: oneOf(
      ['reject', 'delete'],
      'What a message without a value (a Kafka tombstone) means. `delete` needs `service`, and the id from the key.',
    ).default('reject'),
    decode: maybe(
      func<NonNullable<TopicMapping['decode']>>(
        'Reads a message in its own way (Avro, Protobuf …): gives one change, several, or undefined for nothing to do. The other settings of the topic then do nothing. It runs on the main thread, once per message.',
      ),
    ),
  },
  'A topic whose messages have another form than the original\'s `{"serviceId", "id", "op"}`.',
);

const topics = list(
  z
    .union([topicName("The name alone: messages in the original's form."), topic])
    .transform((given) => (typeof given === 'string' ? topic.parse({ ...NO_FIELDS, name: given }) : given)),
  'Topics to read: names, or objects.',
  1,
);

/** Named, so that the fields exist in the resolved topic although they are undefined. */
const NO_FIELDS = { service: undefined, record: undefined, decode: undefined };

const pem = (what: string): ReturnType<typeof secret> =>
  secret(`${what}, in PEM. Mostly given as \`{ "file": "path" }\`.`);

const ssl = z.union([
  yesOrNo('TLS to the brokers, checked against the authorities Node trusts.'),
  section(
    {
      ca: maybe(pem("Certificate of the authority that signed the brokers' certificates")),
      cert: maybe(pem('Certificate of this client, where the brokers ask for one')),
      key: maybe(pem('Private key of this client')),
      rejectUnauthorized: yesOrNo(
        'Whether a broker whose certificate cannot be checked is refused. Turned off, anyone on the way can read and alter messages.',
      ).default(true),
    },
    'TLS to the brokers with certificates of your own.',
  ),
]);

const sasl = section(
  {
    mechanism: oneOf(
      ['plain', 'scram-sha-256', 'scram-sha-512'],
      'How the password is proved. `plain` sends it: use it only with TLS.',
    ),
    username: text('User name.'),
    password: secret('Password.'),
  },
  'Log-in at the brokers.',
);

const DEAD_TOPIC = 'the name of a topic; `{topic}` stands for that of the message';

const deadLetters = section(
  {
    topic: checkedText(
      'Topic of the dead letters; it must exist. With `{topic}` each topic has its own, and letters of posted changes and files, which came from none, stay in their queue only.',
      DEAD_TOPIC,
      (value) =>
        /^(?:[A-Za-z0-9._-]|\{topic\}){1,249}$/.test(value) ? undefined : `allowed is ${DEAD_TOPIC}`,
    ).prefault('{topic}.dlq'),
  },
  'Delivers dead letters to Kafka as well (acks=all, at least once): original key, value and headers, and `__connect.errors.*` headers. They lie in the queue `dead-letters` all the same. Needs the role `worker`.',
);

export const kafka = section(
  {
    brokers: list(
      checkedText('A broker.', 'host:port', (value) =>
        isHostPort(value, true) ? undefined : 'allowed is host:port',
      ),
      'Brokers to ask first; the others are learnt from them. List several, so that one may be down at start. Needed unless `kafka.zookeeper` is set.',
    ).default([]),
    zookeeper: maybe(
      checkedText(
        'Finds the brokers in ZooKeeper (`/brokers/ids`), at start and when all known brokers are gone, as the original did. Needs the optional package `node-zookeeper-client`.',
        'host:port,host:port/chroot',
        checkZookeeper,
      ),
    ),
    topics,
    groupId: text(
      'Consumer group. Instances of one group share the partitions. A new name begins at the oldest message: everything is read again.',
    ).default('cachewright'),
    clientId: text("Name shown in the brokers' logs and quotas.").default('cachewright'),
    ssl: ssl.default(false),
    sasl: maybe(sasl),
    sessionTimeoutMs: duration(
      '6s',
      '30m',
      "After so long without a heartbeat the group gives a member's partitions to others. Shorter: a killed instance is replaced sooner; a busy one is thrown out sooner, and its messages run twice.",
    ).prefault('10s'),
    heartbeatMs: duration(
      '100ms',
      '10m',
      'Time between heartbeats. At most a third of `kafka.sessionTimeoutMs`, so that a lost one does no harm.',
    ).prefault('2s'),
    onMissingMark: oneOf(
      ['earliest', 'committed'],
      'What to do when the mark in Redis is missing although the group has committed offsets: `earliest` reads everything again and loses nothing; `committed` trusts Kafka and loses what was committed but lost with Redis.',
    ).default('earliest'),
    deadLetters: maybe(deadLetters),
    partitionsConcurrently: integer(
      { min: 1, max: 256 },
      'Partitions handed over at once. More hides the latency of Redis; each holds one batch of messages in memory.',
    ).default(8),
  },
  'Kafka as source of change messages. Without this section changes come by HTTP and by `cachewright ingest` only.',
);
