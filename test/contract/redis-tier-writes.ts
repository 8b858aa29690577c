import type { TierWrite } from '../../src/core/ports.ts';
import type { Version } from '../../src/core/service.ts';
import { uniqueName } from '../support/servers/shared.ts';

/** A fence of a deleted record begins so. */
export const TOMBSTONE = '1|t|';

export function freshKey(): string {
  return uniqueName('tier');
}

export function counter(digits: string): Version {
  return { kind: 'counter', digits };
}

export type Asked = Partial<Omit<TierWrite, 'key'>>;

/** A write as the cells describe it: an upsert of 'new', version 5, message orders-0@20, fence not looked at. */
export function write(key: string, asked: Asked): TierWrite {
  const op = asked.op ?? 'upsert';
  return {
    key,
    op,
    text: op === 'upsert' ? 'new' : '',
    version: counter('5'),
    origin: { stream: 'orders-0', epoch: 0, position: '20' },
    ttlMs: 0,
    fenceTtlMs: 0,
    seen: undefined,
    ...asked,
  };
}

export function upsert(key: string, digits: string): TierWrite {
  return write(key, { version: counter(digits), text: `text ${digits}`, seen: null });
}

export function remove(key: string, version: Version | null): TierWrite {
  return write(key, { op: 'delete', version });
}
