import type { FastifyReply } from 'fastify';
import type { CachewrightError, ErrorCode } from '../core/errors.ts';

/** HTTP statuses of errors that a request can end with; what is not listed is 400 (its own fault) or 503 (ours). */
const statuses: Partial<Record<ErrorCode, number>> = {
  E_UNAUTHORIZED: 401,
  E_NOT_FOUND: 404,
  E_REQUEST_TOO_LARGE: 413,
  E_MESSAGE_TOO_LARGE: 413,
  E_IDEMPOTENCY_REUSED: 422,
  E_FENCE_IN_USE: 409,
  E_UNEXPECTED: 500,
};

/** The status an error is answered with. */
export function statusOf(error: CachewrightError): number {
  return statuses[error.code] ?? (error.outcome === 'reject' ? 400 : 503);
}

/** Answers with `application/problem+json` (RFC 9457): code, what, and what to do next. */
export function sendProblem(reply: FastifyReply, error: CachewrightError, more: object = {}): FastifyReply {
  const status = statusOf(error);
  return reply
    .code(status)
    .type('application/problem+json')
    .send({
      type: `urn:cachewright:error:${error.code}`,
      title: error.code,
      status,
      detail: error.message,
      next: error.next,
      ...more,
    });
}
