import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { fail } from '../core/errors.ts';
import { sendProblem } from './problem.ts';

const LOOPBACK_NAMES = new Set(['127.0.0.1', 'localhost', '[::1]']);
const OPEN_PATHS = new Set(['/livez', '/readyz']);

/**
 * Guards every route but health. With tokens: `Authorization: Bearer …` must carry one of them. Without (loopback
 * only): the Host header must name the loopback, so that a web page cannot reach us by a name it re-bound (DNS rebinding).
 */
export function guardAccess(server: FastifyInstance, tokens: readonly string[]): void {
  const digests = tokens.map(digest);
  // Not async: a promise per request would be a good part of what an answer from memory costs.
  server.addHook('onRequest', (request, reply, done) => {
    const isAllowed =
      isOpen(request.url) || (digests.length > 0 ? hasToken(request, digests) : isLoopback(request));
    if (isAllowed) done();
    else sendProblem(reply.header('www-authenticate', 'Bearer'), fail('E_UNAUTHORIZED'));
  });
}

function isOpen(url: string): boolean {
  const query = url.indexOf('?');
  return OPEN_PATHS.has(query === -1 ? url : url.slice(0, query));
}

function hasToken(request: FastifyRequest, digests: readonly Buffer[]): boolean {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  if (scheme?.toLowerCase() !== 'bearer' || token === undefined) return false;
  const given = digest(token);
  return digests.some((known) => timingSafeEqual(known, given));
}

function isLoopback(request: FastifyRequest): boolean {
  return LOOPBACK_NAMES.has((request.headers.host ?? '').replace(/:\d+$/, '').toLowerCase());
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
