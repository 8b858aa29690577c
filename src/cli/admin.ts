/** `cachewright refresh` and `cachewright evict`: what an operator asks for, as change messages. */
import { monotonicFactory } from 'ulid';
import { withRedis } from '../app/with-redis.ts';
import type { Config } from '../config/schema.ts';
import { fail } from '../core/errors.ts';
import { compileKeyTemplate } from '../core/key.ts';
import { type AdminService, adminMessages } from '../ingest/admin.ts';
import type { Run } from './command.ts';
import { askInstance, instanceUrl } from './instance.ts';
import { EXIT, print, say } from './output.ts';
import { openQueue } from './queue-access.ts';
import { loadSettings } from './settings.ts';

interface AdminOptions {
  readonly reason?: string;
}

type Action = 'refresh' | 'evict';

export const refreshCommand = adminCommand('refresh');
export const evictCommand = adminCommand('evict');

/** Ids of one request; the API takes a thousand. */
const MAX_IDS = 1_000;

function adminCommand(action: Action): Run<AdminOptions> {
  return async (options, [service = '', ...ids]) => {
    if (ids.length === 0) throw fail('E_USAGE', { reason: `Name the records: ${action} SERVICE ID…` });
    const { config } = await loadSettings(options);
    const url = instanceUrl(config, options.url);
    const { reason = '' } = options;
    let count = 0;
    for (let from = 0; from < ids.length; from += MAX_IDS) {
      const part = ids.slice(from, from + MAX_IDS);
      const path = `/v1/records/${encodeURIComponent(service)}/${action}`;
      const body = { ids: part, ...(reason !== '' && { reason }) };
      const answer = await askInstance(url, path, config.http.tokens, { body });
      let messages: readonly string[];
      if (answer.kind === 'answered') messages = messagesOf(answer.text);
      else {
        say(
          `no instance answers at ${url ?? 'http.port 0'} (${answer.reason}): putting it into the queue`,
          options.quiet,
        );
        messages = await enqueue(config, { action, service, ids: part, reason });
      }
      for (const message of messages) print(options.json ? JSON.stringify({ message }) : message);
      count += messages.length;
    }
    say(`${count} message(s) in the queue; \`trail --message\` tells what becomes of one`, options.quiet);
    return EXIT.ok;
  };
}

function messagesOf(text: string): readonly string[] {
  const body = JSON.parse(text) as { readonly messages: readonly string[] };
  return body.messages;
}

/** By the way of the queue itself: whoever may write its Redis needs no token of ours. */
async function enqueue(
  config: Config,
  request: {
    readonly action: Action;
    readonly service: string;
    readonly ids: readonly string[];
    readonly reason: string;
  },
): Promise<readonly string[]> {
  const nowMs = Date.now();
  const nextId = monotonicFactory();
  const service = adminService(config, request.service);
  const messages = adminMessages(service, request, nowMs, () => nextId(nowMs));
  return withRedis(config.redis.url, config.redis.commandTimeoutMs, async (redis) => {
    const { queue, submit } = openQueue(config, redis);
    try {
      return await submit(messages, { idPrefix: 'admin' });
    } finally {
      await queue.close();
    }
  });
}

/** @throws `E_NOT_FOUND` */
export function adminService({ services }: Config, id: string): AdminService {
  const service = services[id];
  if (service === undefined) throw fail('E_NOT_FOUND', { what: `service ${id}` });
  return {
    id,
    inline: service.source.type === 'inline',
    version: { from: service.version.from },
    keyOf: compileKeyTemplate(service.key),
  };
}
