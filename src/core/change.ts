/**
 * The nouns of what arrives: a raw message with its coordinates, and the change it is read as.
 */

/** Bytes as a job keeps them: text where they are valid UTF-8 (readable in the queue UI), else base64. */
export type Bytes = string | { readonly base64: string };

/**
 * An ordered sequence of messages. Two messages can be ordered by position only when stream *and* epoch are equal.
 *
 * `stream` is `<topic>-<partition>` for Kafka, `http` for posted changes, `file:<hash>` for a file.
 * `epoch` counts how often an operator rewound the stream or the topic was made anew; 0 where that cannot happen.
 */
export interface Stream {
  readonly stream: string;
  readonly epoch: number;
}

/** Where one message stands: its stream and its position there (Kafka offset, ULID or line number; decimal for Kafka and files). */
export interface Origin extends Stream {
  readonly position: string;
}

/** A message header; Kafka allows several of one name, so headers are a list. */
export type Header = readonly [name: string, value: Bytes];

/** A change message as it arrived, before anything was believed about its content. */
export interface Message {
  readonly origin: Origin;
  /** The source's own time for it (Kafka's message timestamp), epoch milliseconds. */
  readonly timestampMs: number;
  readonly key: Bytes | null;
  readonly value: Bytes | null;
  readonly headers: readonly Header[];
}

/** What a change message asks for. */
export type Operation = 'upsert' | 'delete';

/**
 * The printable id of a message: `cache-message-0@17`, `http@<ulid>`, `file:<hash>@<line>`.
 *
 * @param part for a message that a decoder read as several changes: 0 for the first, whose id is the message's own
 */
export function messageId(origin: Pick<Origin, 'stream' | 'position'>, part = 0): string {
  return part === 0 ? `${origin.stream}@${origin.position}` : `${origin.stream}@${origin.position}#${part}`;
}

/** The inverse of {@link messageId}; undefined when the text is no message id. */
export function parseMessageId(id: string): { stream: string; position: string } | undefined {
  const at = id.lastIndexOf('@');
  if (at <= 0 || at === id.length - 1) return undefined;
  return { stream: id.slice(0, at), position: id.slice(at + 1) };
}

/** Wraps raw bytes for a job: text when that is lossless, base64 otherwise. */
export function toBytes(raw: Buffer, isUtf8: (raw: Buffer) => boolean): Bytes {
  return isUtf8(raw) ? raw.toString('utf8') : { base64: raw.toString('base64') };
}

/** The bytes as they arrived. */
export function toBuffer(bytes: Bytes): Buffer {
  return typeof bytes === 'string' ? Buffer.from(bytes, 'utf8') : Buffer.from(bytes.base64, 'base64');
}
