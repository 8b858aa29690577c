/**
 * What operators ask for, as change messages of streams of their own: they go through the queue, the pipeline and the
 * fence like all others, and stand in the trail as `admin:<reason>@<ulid>`.
 */
import type { Message } from '../core/change.ts';
import { fail } from '../core/errors.ts';
import type { DecodedChange, Service, TopicMapping } from '../core/service.ts';
import { originalForm } from '../core/service.ts';

export interface AdminChange {
  readonly action: 'refresh' | 'evict';
  readonly ids: readonly string[];
  /** Why, in a few words; '' when nobody said. */
  readonly reason: string;
}

/** Begin the names of these streams; no topic has a name with a colon. */
export const ADMIN_STREAM = 'admin:';
export const WARM_STREAM = 'warm:';

const MAX_REASON = 40;

/** The stream of an admin action: a message's id tells its reason. */
export function adminStream(reason: string): string {
  const words = reason
    .replaceAll(/[^A-Za-z0-9._]+/g, '-')
    .slice(0, MAX_REASON)
    .replaceAll(/^-+|-+$/g, '');
  return `${ADMIN_STREAM}${words === '' ? 'no-reason-given' : words}`;
}

/** What has to be known of a service to change its records by hand. */
export interface AdminService {
  readonly id: string;
  readonly inline: boolean;
  readonly version: Pick<Service['version'], 'from'>;
  readonly keyOf: Service['keyOf'];
}

/**
 * One message per id.
 *
 * @param nextPosition rises with every call
 * @throws `E_KEY_INVALID`, `E_NOT_REFRESHABLE`
 */
export function adminMessages(
  service: AdminService,
  { action, ids, reason }: AdminChange,
  nowMs: number,
  nextPosition: () => string,
): Message[] {
  if (action === 'refresh') refuseUnreadable(service);
  const stream = adminStream(reason);
  return ids.map((id): Message => {
    service.keyOf(id);
    return {
      origin: { stream, epoch: 0, position: nextPosition() },
      timestampMs: Math.floor(nowMs),
      key: null,
      value: adminText(service.id, id, action, reason),
      headers: [],
    };
  });
}

export function adminText(
  service: string,
  id: string,
  action: AdminChange['action'],
  reason: string,
): string {
  const op = action === 'evict' ? 'delete' : 'upsert';
  return JSON.stringify({ serviceId: service, id, op, ...(reason !== '' && { reason }) });
}

/**
 * Records come by a refresh only where they are fetched and carry their own version: what the fence compares.
 *
 * @throws `E_NOT_REFRESHABLE`
 */
export function refuseUnreadable({ id, inline, version }: AdminService): void {
  if (inline) throw fail('E_NOT_REFRESHABLE', { service: id, reason: 'they come with their messages' });
  if (version.from === 'record') return;
  const reason = `their versions come with their messages (\`version.from: "${version.from}"\`)`;
  throw fail('E_NOT_REFRESHABLE', { service: id, reason });
}

/** How messages of these streams are read: never by a service's `message` schema, which says how those of others look. */
export const adminMapping: TopicMapping = {
  ...originalForm,
  decode: ({ value }): DecodedChange => {
    const { serviceId, id, op }: AdminText = JSON.parse(typeof value === 'string' ? value : '');
    return { serviceId, id, op };
  },
};

interface AdminText {
  readonly serviceId: string;
  readonly id: string;
  readonly op: 'upsert' | 'delete';
}

/** Whether a stream is one of an operator's. */
export function isAdminStream(stream: string): boolean {
  return stream.startsWith(ADMIN_STREAM) || stream.startsWith(WARM_STREAM);
}
