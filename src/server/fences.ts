import type { FastifyInstance } from 'fastify';
import { fail, reasonOf } from '../core/errors.ts';
import type { AppView } from './app-view.ts';

type Route = { Params: { service: string; id: string } };

/**
 * `GET /v1/fences/:service/:id`: what the fence of a record says. `POST /v1/fences/:service/:id/reset` with
 * `{"reason": "…"}`: takes it away, on record, so that the next write decides.
 */
export function fenceRoutes(server: FastifyInstance, app: AppView): void {
  server.get<Route>('/v1/fences/:service/:id', ({ params }) => app.fences.show(params.service, params.id));
  server.post<Route & { Body: string | undefined }>('/v1/fences/:service/:id/reset', ({ params, body }) =>
    app.fences.reset(params.service, params.id, reasonIn(body ?? '')),
  );
}

function reasonIn(body: string): string {
  let given: unknown;
  try {
    given = JSON.parse(body);
  } catch (thrown) {
    throw fail('E_REQUEST_INVALID', { reason: reasonOf(thrown) }, { cause: thrown });
  }
  const reason = typeof given === 'object' && given !== null && 'reason' in given ? given.reason : '';
  if (typeof reason !== 'string' || reason.trim() === '')
    throw fail('E_REQUEST_INVALID', { reason: 'it says no `reason`, which the audit keeps' });
  return reason.trim();
}
