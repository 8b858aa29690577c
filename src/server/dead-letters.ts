import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { LetterSelection } from '../core/dead-letter.ts';
import { fail, reasonOf } from '../core/errors.ts';
import type { AppView } from './app-view.ts';
import { sendProblem } from './problem.ts';

const DEFAULT_LIMIT = 100;
/** A request is answered when it is done: so many letters at the usual rate are a few seconds. */
const DEFAULT_ACTION_LIMIT = 1_000;
const MAX_LIMIT = 10_000;

/** A time as ISO text or epoch milliseconds. */
const time = z.union([
  z.number().finite(),
  z.string().transform((text, context) => {
    const ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
    if (!Number.isNaN(ms)) return ms;
    context.addIssue({ code: 'custom', message: 'a time is ISO text or epoch milliseconds' });
    return z.NEVER;
  }),
]);

const selection = z.strictObject({
  message: z.string().min(1).optional(),
  service: z.string().min(1).optional(),
  id: z.string().min(1).optional(),
  code: z.string().min(1).optional(),
  since: time.optional(),
  until: time.optional(),
});

const limit = (otherwise: number) => z.coerce.number().int().min(1).max(MAX_LIMIT).default(otherwise);

const question = selection.extend({ limit: limit(DEFAULT_LIMIT) });

const action = z.strictObject({
  /** `{}` means all, and has to be said. */
  select: selection,
  reason: z.string().trim().min(1, 'a reason is kept in the audit').max(500),
  by: z.string().trim().min(1).max(100).default('http'),
  force: z.boolean().default(false),
  limit: limit(DEFAULT_ACTION_LIMIT),
});

const redriving = action.extend({
  dryRun: z.boolean().default(false),
  perSecond: z.number().int().min(0).max(1_000_000).optional(),
  /** A dry run leaves nothing behind that would need one. */
  reason: action.shape.reason.optional(),
});

/** How long a request that acts on many letters, at the rate it was given, may take, milliseconds. */
const ALL_LETTERS_MS = 3_600_000;

/**
 * Dead letters over HTTP: `GET /v1/dead-letters` (groups and the oldest), `GET /v1/dead-letters/:message` (with its bytes),
 * `POST /v1/dead-letters/redrive` and `…/discard`. A request acts on at most `limit` letters and says how many remain.
 */
export function deadLetterRoutes(server: FastifyInstance, app: AppView): void {
  const { deadLetters, redrivePerSecond } = app;

  server.get('/v1/dead-letters', async (request, reply) => {
    const { limit, ...asked } = read(question, request.query);
    return reply.send(await deadLetters.list(selectionOf(asked), limit));
  });

  server.get<{ Params: { message: string } }>('/v1/dead-letters/:message', async (request, reply) => {
    const { message } = request.params;
    const letters = await deadLetters.show(message);
    if (letters.length === 0)
      return sendProblem(reply, fail('E_NOT_FOUND', { what: `A dead letter of ${message}` }));
    return reply.send({ letters });
  });

  server.post('/v1/dead-letters/redrive', { handlerTimeout: ALL_LETTERS_MS }, async (request, reply) => {
    const {
      select,
      dryRun,
      reason,
      perSecond = redrivePerSecond,
      ...rest
    } = read(redriving, bodyOf(request));
    const options = { ...rest, perSecond };
    if (dryRun) return reply.send(await deadLetters.rehearse(selectionOf(select), options));
    if (reason === undefined)
      throw fail('E_REQUEST_INVALID', { reason: '`reason` is missing: it is kept in the audit' });
    return reply.send(await deadLetters.redrive(selectionOf(select), { ...options, reason }));
  });

  server.post('/v1/dead-letters/discard', { handlerTimeout: ALL_LETTERS_MS }, async (request, reply) => {
    const { select, ...options } = read(action, bodyOf(request));
    return reply.send(await deadLetters.discard(selectionOf(select), options));
  });
}

function read<Schema extends z.ZodType>(schema: Schema, given: unknown): z.output<Schema> {
  const result = schema.safeParse(given);
  if (result.success) return result.data;
  const reason = result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ');
  throw fail('E_REQUEST_INVALID', { reason });
}

function selectionOf({ since, until, ...asked }: z.output<typeof selection>): LetterSelection {
  const given = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
  return {
    ...given,
    ...(since !== undefined && { sinceMs: since }),
    ...(until !== undefined && { untilMs: until }),
  };
}

/** Bodies arrive as text, see `changeRoutes`. */
function bodyOf({ body }: FastifyRequest): unknown {
  try {
    return JSON.parse(typeof body === 'string' ? body : '');
  } catch (thrown) {
    throw fail(
      'E_REQUEST_INVALID',
      { reason: `the body is no JSON: ${reasonOf(thrown)}` },
      { cause: thrown },
    );
  }
}
