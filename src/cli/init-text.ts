import type { Guess, VersionGuess } from './init-guess.ts';

const forms = {
  original: 'The message is in the form {"serviceId", "id", "op"?, …}: the topic needs nothing but its name.',
  debezium:
    'The message is a change event of a database (Debezium): pointers say where id, operation and record are.',
  plain:
    'The message is an object of one kind: the topic names its service, and a pointer says where the id is.',
  unknown: 'No message was there to look at, or it was no JSON object: see docs/options.md, kafka.topics.',
} as const satisfies Record<Guess['form'], string>;

/**
 * A commented configuration file in JavaScript. It imports nothing, so that it works wherever the command does.
 *
 * @param brokers `host:port`
 */
export function configurationText(guess: Guess, brokers: readonly string[]): string {
  return `// Configuration of Cachewright. Every option is described in docs/options.md; precedence is flag > environment > this file > default.
// Environment names follow the paths: kafka.brokers is CACHEWRIGHT_KAFKA_BROKERS.
${seenComment(guess)}
/** @type {import('cachewright').ConfigInput} */
export default {
  kafka: {
    // Several, so that one may be down at start.
    brokers: [${brokers.map(quote).join(', ')}],
    // ${forms[guess.form]}
    topics: [${topicText(guess)}],
    // Instances of one group share the partitions. A new name reads everything again.
    groupId: 'cachewright',
  },

  // The queue's Redis needs \`maxmemory-policy noeviction\` and should have \`appendonly yes\`.
  redis: {
    url: 'redis://127.0.0.1:6379',
    // A cache that may evict goes elsewhere:
    // cache: { url: 'redis://127.0.0.1:6380' },
  },

  // The trail of every message: a file of SQLite on this host.
  audit: { url: 'sqlite:./cachewright-audit.db' },

  // Any host but the loopback needs \`tokens: [{ env: 'API_TOKEN' }]\`.
  http: { host: '127.0.0.1', port: 8080 },

  // \`messages: 'all'\` prints a line per step; \`format: 'pretty'\` is for people at a terminal.
  log: { messages: 'failures', format: 'json' },

  services: {
    ${quoteName(guess.service)}: {
      ${sourceText(guess)}
      // Where consumers find the record: GET ${guess.service}:<id>
      key: ${quote(`${guess.service}:{id}`)},
      ${versionText(guess.version)}
    },
  },
};
`;
}

function seenComment({ topic, seen }: Guess): string {
  if (seen === '') return '';
  const line = seen.replaceAll(/[\p{C}\u2028\u2029]+/gu, ' ');
  return `//\n// The message of ${topic} it was made from:\n//   ${line}\n`;
}

function topicText({ topic, mapping, service }: Guess): string {
  if (mapping === undefined) return quote(topic);
  const fields = { name: topic, service, ...mapping };
  return `{ ${Object.entries(fields)
    .map(([name, value]) => `${name}: ${quote(value)}`)
    .join(', ')} }`;
}

function sourceText({ source }: Guess): string {
  if (source === 'inline') {
    return `// The message carries the record. Other sources: http, postgres, or a function of yours.
      source: { type: 'inline' },`;
  }
  return `// The message only names the record: give the address it is read from. Other sources: inline, postgres, or a function of yours.
      source: { type: 'http', url: 'http://127.0.0.1:9000/records/{id}', timeoutMs: '2s' },`;
}

function versionText(version: VersionGuess): string {
  const text = Object.entries(version)
    .map(([name, value]) => `${name}: ${quote(value)}`)
    .join(', ');
  return `// ${versionComment(version)}
      version: { ${text} },`;
}

function versionComment(version: VersionGuess): string {
  if (version.from === 'offset') {
    return 'No field looked like a version. The offset orders messages of one partition only: use the id as the Kafka key.';
  }
  const where = `Of two writes the one with the higher ${version.field} stays`;
  const stand = 'missing' in version ? "; without it the message's own time stands in" : '';
  return `${where}${stand}. Kinds: counter, time. See docs/versions.md.`;
}

function quoteName(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : quote(name);
}

function quote(text: string): string {
  return `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'")}'`;
}
