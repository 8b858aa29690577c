import { createHash } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import { fail } from '../core/errors.ts';
import type { AppView } from './app-view.ts';
import { sendProblem } from './problem.ts';

/** `GET /v1/records/:service/:id`: the record as the tiers of this instance serve it, byte for byte. */
export function recordRoutes(server: FastifyInstance, app: AppView): void {
  server.get<{ Params: { service: string; id: string } }>(
    '/v1/records/:service/:id',
    async (request, reply) => {
      const { service, id } = request.params;
      const record = await app.get(service, id);
      if (record === undefined) return sendProblem(reply, fail('E_NOT_FOUND', { what: `${service} ${id}` }));
      const etag = `"${createHash('sha256').update(record.text).digest('base64url').slice(0, 22)}"`;
      reply.headers({
        etag,
        'x-cache': record.tier,
        'x-instance': app.instance,
        ...(record.version !== '' && { 'x-version': record.version }),
        ...(record.ageMs !== null && { age: String(Math.max(0, Math.floor(record.ageMs / 1000))) }),
      });
      if (request.headers['if-none-match'] === etag) return reply.code(304).send();
      return reply.type('application/json; charset=utf-8').send(record.text);
    },
  );
}
