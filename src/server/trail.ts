import type { FastifyInstance } from 'fastify';
import { fail } from '../core/errors.ts';
import type { AuditQuery } from '../core/ports.ts';
import type { AppView } from './app-view.ts';
import { sendProblem } from './problem.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 10_000;
const FIELDS = {
  service: 'service',
  id: 'recordId',
  key: 'key',
  message: 'message',
  job: 'job',
  state: 'state',
} as const;

/** `GET /v1/trail?service=&id=` (or `key=`, `message=`, `job=`, `state=`): the steps of runs, oldest first. */
export function trailRoutes(server: FastifyInstance, app: AppView): void {
  server.get<{ Querystring: Record<string, string> }>('/v1/trail', async (request, reply) => {
    const given = Object.entries(FIELDS).flatMap(([name, field]) => {
      const value = request.query[name];
      return value === undefined ? [] : [[field, value] as const];
    });
    if (given.length === 0) {
      const reason = `ask by ${Object.keys(FIELDS).join(', ')}`;
      return sendProblem(reply, fail('E_REQUEST_INVALID', { reason }));
    }
    const limit = Math.min(
      MAX_LIMIT,
      Math.max(1, Number(request.query['limit'] ?? DEFAULT_LIMIT) || DEFAULT_LIMIT),
    );
    const query: AuditQuery = { ...Object.fromEntries(given), limit };
    return reply.send({ trail: await app.trail(query) });
  });
}
