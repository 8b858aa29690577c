import { z } from 'zod';
import { checkedText, duration, maybe, oneOf, section, tag } from './option.ts';
import { checkField } from './pointer.ts';

const timezone = checkedText(
  'Zone of times that name none, such as `Europe/Berlin`. Without it such times are rejected. Only with `kind: "time"`.',
  'the name of an IANA time zone, such as Europe/Berlin',
  (value) =>
    isTimeZone(value) ? undefined : 'allowed is the name of an IANA time zone, such as Europe/Berlin',
);

const fromField = section(
  {
    from: tag(
      ['record', 'message', 'header'],
      'Where the version stands: in the record as the source has it (the safest: it says how new the record itself is), in the change message, or in a header of it.',
    ),
    field: checkedText(
      'Name of the field or of the header; with a leading "/" a JSON pointer to the field.',
      'the name of a field, or a JSON pointer such as "/after/version"',
      checkField,
    ),
    kind: oneOf(
      ['counter', 'time'],
      '`counter`: any non-negative decimal, also beyond 64 bits. `time`: ISO 8601 or epoch milliseconds, all digits kept. Changed later, stored fences can no longer be compared and such writes are refused.',
    ),
    missing: oneOf(
      ['reject', 'timestamp'],
      "A message without the field is rejected, or, with kind `time` only, the Kafka message's own time stands in: that takes the producer's clock for the source's.",
    ).default('reject'),
    maxAheadMs: duration(
      '0ms',
      '3650d',
      "Times further ahead of this machine's clock are rejected, since one record from the year 2099 would freeze its key. Larger: more tolerant of wrong clocks, and a wrong one does its harm for longer.",
    ).prefault('1d'),
    timezone: maybe(timezone),
  },
  'The version is a field.',
);

const fromOffset = section(
  {
    from: tag(
      ['offset'],
      'The Kafka offset is the version. It orders only messages of one partition: the producer has to use the id as the Kafka key.',
    ),
  },
  'The version is the place in the topic.',
);

/** How new a record is: what decides which of two writes stays. */
export const version = z.discriminatedUnion('from', [fromField, fromOffset]);

function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en-US', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
