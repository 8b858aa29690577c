import { z } from 'zod';
import {
  checkedText,
  decimal,
  duration,
  func,
  integer,
  list,
  maybe,
  oneOf,
  optionMeta,
  secret,
  section,
  tag,
} from './option.ts';
import { checkPointer, POINTER } from './pointer.ts';
import { checkPostgresUrl, checkUrlTemplate, isHostPort } from './urls.ts';

/** Reads one record; undefined or null: there is none. Has to stop when the signal fires. */
export type FetchOne = (id: string, signal: AbortSignal) => Promise<unknown>;

/** Reads many records at once; an id that is not among the answers has none. Has to stop when the signal fires. */
export type FetchMany = (
  ids: readonly string[],
  signal: AbortSignal,
) => Promise<ReadonlyMap<string, unknown>>;

const pointer = (doc: string): z.ZodString => checkedText(doc, POINTER, checkPointer);

const urlTemplate = (doc: string, placeholder: string): z.ZodString =>
  checkedText(
    doc,
    `an http:// or https:// address with ${placeholder} as a whole path segment or query value`,
    (value) => checkUrlTemplate(value, placeholder),
  );

/** What every source that is asked has. */
const asked = {
  timeoutMs: duration(
    '10ms',
    '10m',
    'How long one request may take. Longer than a healthy answer ever takes; at most `worker.effectTimeoutMs`.',
  ).prefault('10s'),
  limits: section(
    {
      concurrency: integer(
        { min: 1, max: 10_000 },
        'Requests at once, per process. More is faster until the source slows down.',
      ).default(8),
      perSecond: maybe(
        decimal(
          0.01,
          1_000_000,
          'Requests a second, per process. Runs beyond wait without using attempts. Without it there is no limit.',
        ),
      ),
    },
    'Protects the source from us.',
  ).prefault({}),
  breaker: section(
    {
      failures: integer(
        { min: 1, max: 10_000 },
        'Failures in a row that open the circuit breaker: then nothing is asked, and runs wait without using attempts.',
      ).default(5),
      halfOpenAfterMs: duration(
        '100ms',
        '1h',
        'How long an open breaker waits before one request tries again.',
      ).prefault('10s'),
    },
    'Leaves a failing source alone.',
  ).prefault({}),
  maxAbsentRatio: decimal(
    0,
    1,
    'When more than this share of a batch (of at least 20 ids) is gone at once nothing is evicted and the runs are retried: more likely the source is broken than empty. 1 turns the check off.',
  ).default(0.5),
};

const inline = section(
  { type: tag(['inline'], 'The message carries the record; nothing is fetched.') },
  'The record comes with the message.',
);

const batch = section(
  {
    url: urlTemplate(
      'Address that answers many ids at once; `{ids}` becomes the ids, each encoded, joined by commas.',
      '{ids}',
    ),
    maxIds: integer(
      { min: 1, max: 10_000 },
      'Ids in one request; mind the longest address the source takes.',
    ).default(100),
    items: pointer('Where the list of records stands in the answer; empty: the answer is the list.').prefault(
      '',
    ),
    id: pointer('Where the id stands in an item: answers are joined by it, never by position.').prefault(
      '/id',
    ),
    missing: oneOf(
      ['ask', 'absent'],
      'An id that is missing from the answer is asked for singly, or (`absent`) taken as gone. `absent` saves requests, and evicts what an incomplete answer left out.',
    ).default('ask'),
  },
  'Asks for many ids at once.',
);

const headers = z
  .record(
    checkedText('Name of a header.', 'the name of a header', (name) =>
      /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) ? undefined : 'the name of a header',
    ),
    secret('Value of a header.', {
      problemOf: (value) => (/[\0\r\n]/.test(value) ? 'a header has no line breaks' : undefined),
    }),
  )
  .register(optionMeta, {
    doc: 'Headers sent with every request, name to value.',
    allowed: 'an object of names and texts',
    textAs: 'none',
  });

const REDIRECT_HOST = 'a host, or host:port';

const http = section(
  {
    type: tag(['http'], 'The record is read from an HTTP API.'),
    url: urlTemplate(
      'Address of one record; `{id}` becomes the encoded id. Its host is the only one asked.',
      '{id}',
    ),
    headers: headers.default({}),
    batch: maybe(batch),
    item: pointer(
      'Where the record stands in the answer for one id; empty: the answer is the record.',
    ).prefault(''),
    allowRedirectsTo: list(
      checkedText('A host.', REDIRECT_HOST, (value) =>
        isHostPort(value) ? undefined : `allowed is ${REDIRECT_HOST}`,
      ),
      'Hosts a redirect may lead to; every other redirect is a failure. Headers are sent along: list only hosts that may see them.',
    ).default([]),
    maxBytes: integer(
      { min: 1024, max: 1024 ** 3, unit: 'bytes' },
      'Largest answer. Larger ones are not read to the end, so that a broken source cannot fill the memory.',
    ).default(10 * 1024 ** 2),
    ...asked,
  },
  'An HTTP API.',
);

const QUERY = 'an SQL query with $1 for the list of ids, such as "… where id = any($1::bigint[])"';

const postgres = section(
  {
    type: tag(['postgres'], 'The record is read from Postgres.'),
    url: secret('Address of the database.', {
      hides: 'password',
      allowed: 'postgres://user:password@host:port/database',
      problemOf: checkPostgresUrl,
    }),
    query: checkedText(
      'Reads many records: `$1` is the list of ids. A row has the id, `record` (JSON) and, if the version is no field of the record, `version` as text.',
      QUERY,
      (value) => (/\$1(?!\d)/.test(value) ? undefined : `allowed is ${QUERY}`),
    ),
    id: checkedText('Column of the id: rows are joined by it.', 'the name of a column', (value) =>
      value === '' ? 'allowed is the name of a column' : undefined,
    ).prefault('id'),
    ...asked,
  },
  'A Postgres database.',
);

const fromFunction = section(
  {
    type: tag(['function'], 'The record is read by a function of yours: see `defineSource`.'),
    fetch: maybe(func<FetchOne>('Reads one record. Needed unless `fetchMany` is there.')),
    fetchMany: maybe(func<FetchMany>('Reads many records at once.')),
    ...asked,
  },
  'A function (configuration in TypeScript or JavaScript only).',
);

export const source = z.discriminatedUnion('type', [inline, http, postgres, fromFunction]);

export type FunctionSourceInput = z.input<typeof fromFunction>;
