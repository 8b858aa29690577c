import type { FastifyInstance } from 'fastify';
import type { AppView } from './app-view.ts';

/** `/livez` touches no dependency; `/readyz` names what is missing. Both are open: they tell nothing of content. */
export function healthRoutes(server: FastifyInstance, app: AppView): void {
  server.get('/livez', async (_request, reply) => {
    const { live, reason } = app.live();
    return reply.code(live ? 200 : 503).send({ live, ...(reason !== '' && { reason }) });
  });
  server.get('/readyz', async (_request, reply) => {
    const missing = await app.missing();
    return reply.code(missing.length === 0 ? 200 : 503).send({ ready: missing.length === 0, missing });
  });
}
