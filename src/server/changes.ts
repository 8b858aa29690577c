import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { monotonicFactory } from 'ulid';
import { type Message, messageId } from '../core/change.ts';
import { fail, reasonOf } from '../core/errors.ts';
import { itemsAt } from '../core/json-text.ts';
import type { AppView } from './app-view.ts';
import { sendProblem } from './problem.ts';

/**
 * `POST /v1/changes`: one message (a JSON object), an array of them, or NDJSON. Answers 202 with the message ids once
 * the queue's Redis has confirmed them. A message that would be rejected is refused here, and with it the whole
 * request: nothing is taken half. With `Idempotency-Key` a repeat gets the same ids and runs once.
 */
export function changeRoutes(server: FastifyInstance, app: AppView, maxBodyBytes: number): void {
  // No other type is read: a browser lets any web page post text/plain to the loopback without asking.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser<Buffer>(
    ['application/json', 'application/x-ndjson', 'application/ndjson'],
    { parseAs: 'buffer', bodyLimit: maxBodyBytes },
    // Decoding alone would put replacement characters for what is no UTF-8, and store a record nobody sent.
    (_request, body, done) =>
      isUtf8(body) ? done(null, body.toString('utf8')) : done(fail('E_MESSAGE_NOT_UTF8')),
  );
  // Rising within a millisecond too: messages of one request keep their order.
  const nextId = monotonicFactory();
  server.post<{ Body: string | undefined }>('/v1/changes', async (request, reply) => {
    const texts = textsOf(request.body ?? '', request.headers['content-type'] ?? '');
    const now = Math.floor(app.nowMs());
    const messages = texts.map((text) => httpMessage(nextId(now), now, text));
    const errors = (await Promise.all(messages.map((message) => app.check(message)))).flatMap(
      (error, index) => (error === undefined ? [] : [{ index, error }]),
    );
    const first = errors[0];
    if (first !== undefined) {
      return sendProblem(reply, first.error, {
        errors: errors
          .slice(0, 100)
          .map(({ index, error }) => ({ index, code: error.code, detail: error.message })),
      });
    }
    const agreed = await agreedMessages(app, request.headers['idempotency-key'], texts, messages);
    await app.submit(agreed);
    return reply
      .code(202)
      .send({ messages: agreed.map(({ origin }) => messageId(origin)), durability: await app.durability() });
  });
}

function httpMessage(position: string, timestampMs: number, text: string): Message {
  const origin = { stream: 'http', epoch: 0, position };
  return { origin, timestampMs, key: null, value: text, headers: [] };
}

/** The exact texts of the messages in a body. */
function textsOf(body: string, contentType: string): string[] {
  const texts = contentType.includes('ndjson')
    ? body.split('\n').filter((line) => trimmed(line) !== '')
    : jsonTexts(body);
  if (texts.length === 0) throw fail('E_REQUEST_INVALID', { reason: 'the body holds no message' });
  return texts;
}

function jsonTexts(body: string): string[] {
  const text = trimmed(body);
  if (!text.startsWith('[')) return text === '' ? [] : [text];
  try {
    JSON.parse(body);
  } catch (thrown) {
    throw fail('E_REQUEST_INVALID', { reason: reasonOf(thrown) }, { cause: thrown });
  }
  return itemsAt(body, []);
}

/** Without the spaces that JSON allows around a value; `trim` would also take away a byte order mark. */
function trimmed(text: string): string {
  let [from, to] = [0, text.length];
  while (from < to && isSpace(text.charCodeAt(from))) from += 1;
  while (to > from && isSpace(text.charCodeAt(to - 1))) to -= 1;
  return text.slice(from, to);
}

function isSpace(code: number): boolean {
  return code === 32 || code === 10 || code === 13 || code === 9;
}

/** The messages under the ids that an earlier request with this key was answered with, if there was one. */
async function agreedMessages(
  app: AppView,
  key: string | string[] | undefined,
  texts: readonly string[],
  messages: readonly Message[],
): Promise<readonly Message[]> {
  if (typeof key !== 'string' || key === '') return messages;
  const contentHash = createHash('sha256').update(JSON.stringify(texts)).digest('base64url');
  const positions = messages.map(({ origin }) => origin.position);
  const agreed = await app.remember(key, contentHash, positions);
  return messages.map((message, index) => ({
    ...message,
    origin: { ...message.origin, position: agreed[index] ?? message.origin.position },
  }));
}
