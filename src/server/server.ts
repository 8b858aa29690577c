import fastify, { type FastifyInstance } from 'fastify';
import { asError, fail, reasonOf } from '../core/errors.ts';
import type { Log } from '../core/ports.ts';
import { guardAccess } from './access.ts';
import type { AppView } from './app-view.ts';
import { boardRoutes } from './board.ts';
import { changeRoutes } from './changes.ts';
import { fenceRoutes } from './fences.ts';
import { deadLetterRoutes } from './dead-letters.ts';
import { healthRoutes } from './health.ts';
import { sendProblem, statusOf } from './problem.ts';
import { recordRoutes } from './records.ts';
import { trailRoutes } from './trail.ts';

export interface ServerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly tokens: readonly string[];
  readonly maxBodyBytes: number;
}

export interface HttpServer {
  /** `http://host:port` as bound; known after `listen`. */
  readonly url: string;
  listen(): Promise<void>;
  close(): Promise<void>;
}

/** How long a request may take to arrive, and then to be answered, milliseconds: a dependency may hang without a word. */
const REQUEST_TIMEOUT_MS = 30_000;

/** The HTTP side of the app. Without tokens it serves the loopback only (the configuration refuses anything else). */
export async function createServer(
  options: ServerOptions,
  app: AppView,
  log: Log,
  handlerTimeoutMs = REQUEST_TIMEOUT_MS,
): Promise<HttpServer> {
  const server = fastify({
    logger: false,
    bodyLimit: options.maxBodyBytes,
    forceCloseConnections: true,
    // Topics have names of up to 249 characters, and message ids begin with them; an id may be as long as its key allows, and
    // longer in percent signs.
    routerOptions: { maxParamLength: 2_048 },
    requestTimeout: REQUEST_TIMEOUT_MS,
    handlerTimeout: handlerTimeoutMs,
  });
  guardAccess(server, options.tokens);
  answerErrors(server, { ...options, handlerTimeoutMs }, log);
  healthRoutes(server, app);
  recordRoutes(server, app);
  changeRoutes(server, app, options.maxBodyBytes);
  trailRoutes(server, app);
  fenceRoutes(server, app);
  deadLetterRoutes(server, app);
  await boardRoutes(server, app.queues);
  let url = '';
  return {
    get url() {
      return url;
    },
    async listen() {
      try {
        url = await server.listen({ host: options.host, port: options.port });
      } catch (thrown) {
        const inUse = thrown instanceof Error && 'code' in thrown && thrown.code === 'EADDRINUSE';
        const address = `${options.host}:${options.port}`;
        if (inUse) throw fail('E_PORT_IN_USE', { address }, { cause: thrown });
        throw fail('E_UNREACHABLE', { what: address, reason: reasonOf(thrown) }, { cause: thrown });
      }
    },
    close: () => server.close(),
  };
}

function answerErrors(
  server: FastifyInstance,
  { maxBodyBytes, handlerTimeoutMs }: { readonly maxBodyBytes: number; readonly handlerTimeoutMs: number },
  log: Log,
): void {
  server.setNotFoundHandler((request, reply) =>
    sendProblem(reply, fail('E_NOT_FOUND', { what: request.url })),
  );
  server.setErrorHandler((thrown, request, reply) => {
    const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
    if (code === 'FST_ERR_CTP_BODY_TOO_LARGE')
      return sendProblem(reply, fail('E_REQUEST_TOO_LARGE', { max: maxBodyBytes }));
    if (code === 'FST_ERR_HANDLER_TIMEOUT')
      return sendProblem(reply, fail('E_REQUEST_TIMEOUT', { timeoutMs: handlerTimeoutMs }));
    if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
      return sendProblem(
        reply,
        fail('E_REQUEST_INVALID', { reason: 'the content type is neither JSON nor NDJSON' }),
      );
    }
    const error = asError(thrown);
    if (statusOf(error) >= 500)
      log.warn({ url: request.url, code: error.code, err: error.message }, 'request failed');
    return sendProblem(reply, error);
  });
}
