/**
 * The text of a fence, format 1 (docs/versions.md):
 *
 *     1|l|c|42|cache-message-0|3|17
 *     │ │ │ │  │               │ └ position in the stream
 *     │ │ │ │  │               └ epoch of the stream
 *     │ │ │ │  └ stream of the message that wrote it; never holds a `|`
 *     │ │ │ └ the version's digits; empty when the version is unknown
 *     │ │ └ kind of the version: c counter · t time · o offset · - unknown (observed tombstones only)
 *     │ └ l live · t tombstone · o observed tombstone
 *     └ format
 *
 * Flat on purpose: the script of the Redis tier takes it apart with one `string.match`.
 */
import { messageId, type Origin } from './change.ts';
import { fail } from './errors.ts';
import type { Version, VersionKind } from './service.ts';

export const FENCE_FORMAT = 1;

/**
 * - `live`: a value was written with this version.
 * - `tombstone`: the record was deleted at this version.
 * - `observed`: the record was found absent and no version of it was ever known; yields to a just-fetched record.
 */
export type FenceKind = 'live' | 'tombstone' | 'observed';

export interface Fence {
  readonly kind: FenceKind;
  /** null only for `observed`. */
  readonly version: Version | null;
  /** The message that wrote it. */
  readonly origin: Origin;
}

const letterOfKind = { live: 'l', tombstone: 't', observed: 'o' } as const satisfies Record<
  FenceKind,
  string
>;
const kindOfLetter: Readonly<Record<string, FenceKind>> = { l: 'live', t: 'tombstone', o: 'observed' };
const letterOfVersion = { counter: 'c', time: 't', offset: 'o' } as const satisfies Record<
  VersionKind,
  string
>;
const versionOfLetter: Readonly<Record<string, VersionKind>> = { c: 'counter', t: 'time', o: 'offset' };

const pattern = /^1\|([lto])\|([cto-])\|(\d*)\|([^|]*)\|(\d+)\|(.*)$/s;

/** The fence's text. Only an `observed` tombstone may have no version. */
export function encodeFence(kind: FenceKind, version: Version | null, origin: Origin): string {
  if (version === null && kind !== 'observed') {
    throw fail('E_UNEXPECTED', { what: `a fence of kind ${kind} without a version` });
  }
  const versionPart = version === null ? '-|' : `${letterOfVersion[version.kind]}|${version.digits}`;
  return `1|${letterOfKind[kind]}|${versionPart}|${origin.stream}|${origin.epoch}|${origin.position}`;
}

/** The fence of a text; undefined when the text has another format. */
export function decodeFence(text: string): Fence | undefined {
  const parts = pattern.exec(text);
  if (parts === null) return undefined;
  const [, kindLetter = '', versionLetter = '', digits = '', stream = '', epoch = '', position = ''] = parts;
  const kind = kindOfLetter[kindLetter];
  const versionKind = versionOfLetter[versionLetter];
  if (kind === undefined || (versionKind === undefined) !== (digits === '')) return undefined;
  if (versionKind === undefined && kind !== 'observed') return undefined;
  return {
    kind,
    version: versionKind === undefined ? null : { kind: versionKind, digits },
    origin: { stream, epoch: Number(epoch), position },
  };
}

/** The key of a key's fence. The braces make the value's key the hash tag, so that both live in one cluster slot. */
export function fenceKeyOf(key: string): string {
  return `fence:{${key}}`;
}

/** Message id of what wrote a fence; '' when the text has another format. */
export function fencedBy(text: string): string {
  const fence = decodeFence(text);
  return fence === undefined ? '' : messageId(fence.origin);
}
