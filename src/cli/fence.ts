import { userInfo, hostname } from 'node:os';
import { queueKeys } from '../adapters/bullmq-keys.ts';
import { type FencedRecord, type FenceView, resetFence, showFence } from '../app/fences.ts';
import { queuePrefix } from '../app/parts.ts';
import { QUEUE } from '../app/queue-shards.ts';
import { withRedis } from '../app/with-redis.ts';
import type { Config } from '../config/schema.ts';
import { systemClock } from '../core/clock.ts';
import { fail } from '../core/errors.ts';
import { compileKeyTemplate } from '../core/key.ts';
import { describeVersion, parseVersion } from '../core/version.ts';
import type { Run } from './command.ts';
import { EXIT, print, say } from './output.ts';
import { loadSettings } from './settings.ts';

/** `cachewright fence show SERVICE ID`: what the fence of a record says, from Redis. */
export const fenceShowCommand: Run<object> = async (options, [service = '', id = '']) => {
  const { config } = await loadSettings(options);
  const record = recordOf(config, service, id);
  const { url } = config.redis.cache;
  const view = await withRedis(url, config.redis.commandTimeoutMs, (cache) =>
    showFence(record, { cache, nowMs: () => systemClock().now() }),
  );
  print(options.json ? JSON.stringify(view, null, 2) : describe(view));
  return view.isComparable ? EXIT.ok : EXIT.difference;
};

/** `cachewright fence reset SERVICE ID --reason WHY`: takes the fence away, on record. */
export const fenceResetCommand: Run<{ readonly reason?: string }> = async (
  options,
  [service = '', id = ''],
) => {
  const reason = options.reason?.trim() ?? '';
  if (reason === '') throw fail('E_USAGE', { reason: 'Say why with --reason: it is kept in the audit.' });
  const { config } = await loadSettings(options);
  const record = recordOf(config, service, id);
  const { url, cache: cacheAt, commandTimeoutMs } = config.redis;
  const view = await withRedis(url, commandTimeoutMs, (queue) =>
    withRedis(cacheAt.url, commandTimeoutMs, (cache) =>
      resetFence(record, reason, {
        cache,
        queue,
        outbox: queueKeys(queuePrefix(config), QUEUE).auditOutbox,
        by: `${userInfo().username}@${hostname()}`,
        nowMs: () => systemClock().now(),
      }),
    ),
  );
  if (options.json) print(JSON.stringify(view, null, 2));
  else print(view.fence ?? '');
  say(
    `reset: the next write of ${view.key} decides, whatever its version. Send its newest change again.`,
    options.quiet,
  );
  return EXIT.ok;
};

function recordOf({ services }: Config, service: string, id: string): FencedRecord {
  const configured = services[service];
  if (configured === undefined) throw fail('E_NOT_FOUND', { what: `service ${service}` });
  const { version } = configured;
  const kind = version.from === 'offset' ? 'offset' : version.kind;
  return { service, id, key: compileKeyTemplate(configured.key)(id), kind };
}

function describe(view: FenceView): string {
  const parsed = parseVersion(view.version);
  const lines = [
    `${view.service} ${view.id} · key ${view.key}`,
    `  fence    ${view.fence ?? 'none'}`,
    ...(view.fence === null
      ? []
      : [
          `  state    ${view.state}`,
          `  version  ${parsed === null ? 'none' : `${view.version} (${describeVersion(parsed)})`}`,
          `  written  by ${view.message === '' ? 'nobody known' : view.message}${view.epoch > 0 ? `, epoch ${view.epoch}` : ''}`,
          `  expires  ${view.expires === '' ? 'never' : view.expires}`,
        ]),
    `  value    ${view.valueBytes === 0 ? 'none' : `${view.valueBytes} bytes`}`,
  ];
  if (!view.isComparable)
    lines.push(
      `  The service now reads versions of kind ${view.kind}: its messages cannot be compared with this fence and are refused`,
      `  (E_VERSION_RULE_CHANGED). Put the old rule back, or: cachewright fence reset ${view.service} ${view.id} --reason '…'`,
    );
  return lines.join('\n');
}
