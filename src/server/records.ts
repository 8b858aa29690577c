import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyReply, RouteShorthandOptions } from 'fastify';
import type { z } from 'zod';
import { fail, reasonOf } from '../core/errors.ts';
import type { AppView, RecordView } from './app-view.ts';
import { sendProblem } from './problem.ts';
import { adminRequest, recordsRequest } from './record-schemas.ts';

interface OfService {
  readonly service: string;
}

/**
 * `GET /v1/records/:service/:id`: the record as this instance serves it, byte for byte. `POST /v1/records/:service`: many
 * at once. `POST /v1/records/:service/refresh` and `…/evict` make change messages that go the way of all others.
 */
export function recordRoutes(server: FastifyInstance, app: AppView): void {
  const { instance } = app;
  const reading: RouteShorthandOptions = {
    // Failures and answers that did not come in time.
    async onError(_request, reply) {
      sayWhenBlind(reply, app.isBlind());
    },
  };
  server.get<{ Params: OfService & { id: string } }>(
    '/v1/records/:service/:id',
    reading,
    async (request, reply) => {
      const { service, id } = request.params;
      const record = await app.get(service, id);
      reply.header('x-instance', instance);
      sayWhenBlind(reply, record?.isBlind ?? app.isBlind());
      if (record === undefined) {
        return sendProblem(
          reply.header('x-cache', 'negative'),
          fail('E_NOT_FOUND', { what: `${service} ${id}` }),
        );
      }
      return sendRecord(reply, record, request.headers['if-none-match']);
    },
  );

  server.post<{ Params: OfService; Body: unknown }>(
    '/v1/records/:service',
    reading,
    async (request, reply) => {
      const { ids } = parsed(recordsRequest, request.body);
      const answers = await app.getMany(request.params.service, ids);
      const records = answers.map((answer, index) => textOfAnswer(ids[index] ?? '', answer));
      const isBlind = answers.some((answer) =>
        answer.kind === 'found' ? answer.record.isBlind : app.isBlind(),
      );
      return sayWhenBlind(reply, isBlind)
        .header('x-instance', instance)
        .type('application/json; charset=utf-8')
        .send(`{"records":[${records.join(',')}]}`);
    },
  );

  for (const action of ['refresh', 'evict'] as const) {
    server.post<{ Params: OfService; Body: unknown }>(
      `/v1/records/:service/${action}`,
      async (request, reply) => {
        const { ids, reason = '' } = parsed(adminRequest, request.body);
        const { service } = request.params;
        const messages = await app.admin({ action, service, ids, reason });
        return reply.code(202).send({ messages, durability: await app.durability() });
      },
    );
  }
}

/**
 * That this cache passed its own records over, and why, in the words of RFC 9211. An answer with `x-cache: stale` is one of
 * them all the same, since nobody else answered.
 */
const BLIND = 'cachewright; fwd=bypass; detail=blind';

function sayWhenBlind(reply: FastifyReply, isBlind: boolean): FastifyReply {
  return isBlind ? reply.header('cache-status', BLIND) : reply;
}

function sendRecord(reply: FastifyReply, record: RecordView, ifNoneMatch: string | undefined): FastifyReply {
  const etag = etagOf(record);
  reply.header('etag', etag);
  reply.header('x-cache', record.tier);
  if (record.version !== '') reply.header('x-version', record.version);
  if (record.ageMs !== null) reply.header('age', String(Math.max(0, Math.floor(record.ageMs / 1000))));
  if (ifNoneMatch !== undefined && isMatch(ifNoneMatch, etag)) return reply.code(304).send();
  reply.header('content-type', 'application/json; charset=utf-8');
  return reply.send(record.text);
}

/** A list of tags, each maybe weak, or `*` (RFC 9110, 13.1.2). */
function isMatch(ifNoneMatch: string, etag: string): boolean {
  if (ifNoneMatch === etag) return true;
  return ifNoneMatch
    .split(',')
    .map((tag) => tag.trim())
    .some((tag) => tag === '*' || tag === etag || tag === `W/${etag}`);
}

/** Of what the local tier holds; hashing is most of what an answer costs. */
const etags = new WeakMap<object, string>();

function etagOf({ text, held }: RecordView): string {
  const known = held === undefined ? undefined : etags.get(held);
  if (known !== undefined) return known;
  const etag = `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"`;
  if (held !== undefined) etags.set(held, etag);
  return etag;
}

/** The record's own text stands in it unchanged, so that no number is altered. */
function textOfAnswer(id: string, answer: Awaited<ReturnType<AppView['getMany']>>[number]): string {
  if (answer.kind === 'absent') return JSON.stringify({ id, cache: 'negative', value: null });
  if (answer.kind === 'failed') {
    const { code, message, next } = answer.error;
    return JSON.stringify({ id, error: { code, detail: message, next } });
  }
  const { record } = answer;
  const { tier, version, ageMs } = record;
  const fields = JSON.stringify({ id, cache: tier, version, etag: etagOf(record), ageMs });
  return `${fields.slice(0, -1)},"value":${version !== '' || isJson(record.text) ? record.text : JSON.stringify(record.text)}}`;
}

/** What has no version may be another program's. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** @throws `E_REQUEST_INVALID` */
function parsed<Schema extends z.ZodType>(schema: Schema, body: unknown): z.output<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(typeof body === 'string' ? body : '');
  } catch (thrown) {
    throw fail('E_REQUEST_INVALID', { reason: `the body is not JSON: ${reasonOf(thrown)}` });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = result.error.issues.map(({ path, message }) => [path.join('.'), message].join(': '));
  throw fail('E_REQUEST_INVALID', { reason: issues.slice(0, 5).join('; ') });
}
