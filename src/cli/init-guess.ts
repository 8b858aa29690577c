/** What kind of messages a topic holds, guessed from one of them. */

/** How a service's versions are probably found. */
export type VersionGuess =
  | { readonly from: 'record' | 'message'; readonly field: string; readonly kind: 'counter' }
  | {
      readonly from: 'record' | 'message';
      readonly field: string;
      readonly kind: 'time';
      readonly missing?: 'timestamp';
    }
  | { readonly from: 'offset' };

export interface Guess {
  readonly topic: string;
  /** `original`: `{"serviceId", "id", …}` · `debezium`: change events of a database · `plain`: an object with an id. */
  readonly form: 'original' | 'debezium' | 'plain' | 'unknown';
  readonly service: string;
  /** Settings of the topic; undefined where the original's form needs none. */
  readonly mapping:
    | { readonly id: string; readonly op?: string; readonly record?: string; readonly nullValue?: 'delete' }
    | undefined;
  /** `inline`: the message seems to carry the record · `http`: it only names it. */
  readonly source: 'inline' | 'http';
  readonly version: VersionGuess;
  /** The value as text, shortened; '' when there was no message. */
  readonly seen: string;
}

type Fields = Readonly<Record<string, unknown>>;

const COUNTERS = ['version', 'revision', 'rev', 'seq', 'sequence'];
const TIMES = [
  'modifiedTime',
  'modifiedAt',
  'modified_at',
  'updatedAt',
  'updated_at',
  'updateTime',
  'lastModified',
  'timestamp',
];
const MAX_SHOWN = 300;

/** The guess for a topic without messages: the original's form. */
export function nothingSeen(topic: string): Guess {
  return {
    topic,
    form: 'unknown',
    service: 'productInfoService',
    mapping: undefined,
    source: 'inline',
    version: { from: 'record', field: 'modifiedTime', kind: 'time', missing: 'timestamp' },
    seen: '',
  };
}

/** @param key of the message · @param value its bytes */
export function guessFrom(topic: string, key: Buffer | null, value: Buffer | null): Guess {
  const text = value?.toString('utf8') ?? '';
  const seen = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  const body = objectOf(text);
  const hasKey = key !== null && key.length > 0;
  if (body === undefined) {
    const mapping = hasKey ? { id: 'key' } : undefined;
    return { ...nothingSeen(topic), service: nameOf(topic), mapping, version: { from: 'offset' }, seen };
  }
  return { ...(original(topic, body) ?? debezium(topic, body) ?? plain(topic, body, hasKey)), seen };
}

function original(topic: string, body: Fields): Omit<Guess, 'seen'> | undefined {
  const service = body['serviceId'];
  if (typeof service !== 'string' || service === '' || body['id'] === undefined) return undefined;
  const version = versionIn(body, 'record');
  const versionField = version?.from === 'record' ? version.field : '';
  const carried = Object.keys(body).filter((name) => !['serviceId', 'id', 'op', versionField].includes(name));
  const isInline = carried.length > 0;
  const unknown: VersionGuess = isInline
    ? { from: 'record', field: 'modifiedTime', kind: 'time', missing: 'timestamp' }
    : { from: 'record', field: 'version', kind: 'counter' };
  return {
    topic,
    form: 'original',
    service: nameOf(service),
    mapping: undefined,
    source: isInline ? 'inline' : 'http',
    version: version ?? unknown,
  };
}

function debezium(topic: string, body: Fields): Omit<Guess, 'seen'> | undefined {
  const isWrapped = isFields(body['payload']) && 'op' in body['payload'];
  const event = isWrapped && isFields(body['payload']) ? body['payload'] : body;
  const row = isFields(event['after']) ? event['after'] : event['before'];
  if (!isFields(row) || typeof event['op'] !== 'string') return undefined;
  const at = isWrapped ? '/payload' : '';
  const source = isFields(event['source']) ? event['source'] : {};
  const unknown: VersionGuess =
    'lsn' in source
      ? { from: 'message', field: `${at}/source/lsn`, kind: 'counter' }
      : { from: 'message', field: `${at}/source/ts_ms`, kind: 'time' };
  return {
    topic,
    form: 'debezium',
    service: nameOf(topic.split('.').at(-1) ?? topic),
    mapping: {
      id: `${at}/after/${idIn(row) ?? 'id'}`,
      op: `${at}/op`,
      record: `${at}/after`,
      nullValue: 'delete',
    },
    source: 'inline',
    version: versionIn(row, 'record') ?? unknown,
  };
}

function plain(topic: string, body: Fields, hasKey: boolean): Omit<Guess, 'seen'> {
  const id = idIn(body);
  return {
    topic,
    form: 'plain',
    service: nameOf(topic),
    mapping: { id: id === undefined && hasKey ? 'key' : `/${id ?? 'id'}` },
    source: 'inline',
    version: versionIn(body, 'record') ?? { from: 'offset' },
  };
}

/** The first field that looks like a version. */
function versionIn(fields: Fields, from: 'record'): VersionGuess | undefined {
  const counter = COUNTERS.find((name) => /^\d+$/.test(String(fields[name])));
  if (counter !== undefined) return { from, field: counter, kind: 'counter' };
  const time = TIMES.find((name) => isTime(fields[name]));
  return time === undefined ? undefined : { from, field: time, kind: 'time' };
}

function isTime(value: unknown): boolean {
  if (typeof value === 'number') return value > 1e11 && value < 1e14;
  return typeof value === 'string' && /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$/.test(value);
}

function idIn(fields: Fields): string | undefined {
  const isUsable = (name: string): boolean => ['string', 'number'].includes(typeof fields[name]);
  const names = Object.keys(fields).filter(isUsable);
  const found = names.includes('id') ? 'id' : names.find((name) => /(_id|Id|ID|sku|code)$/.test(name));
  return found?.replaceAll('~', '~0').replaceAll('/', '~1');
}

/** A name that every setting takes. */
function nameOf(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9_-]+/g, '_');
}

function objectOf(text: string): Fields | undefined {
  try {
    const body: unknown = JSON.parse(text);
    return isFields(body) ? body : undefined;
  } catch {
    return undefined;
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
