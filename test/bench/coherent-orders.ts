/** What the coherence scenario's processes are told and answer, and the changes that all of them know beforehand. */

export const SERVICE = 'productInfoService';
export const KEYS = 2_000;
/** Changes written together, as a chunk of a busy moment would. */
export const GROUP = 10;
export const PER_SECOND = 1_000;

/** Changes of every key in turn, in groups at fixed times. */
export interface Plan {
  /** By {@link nowMs}. */
  readonly startMs: number;
  readonly groups: number;
  /** The version of the first pass over the keys; each pass has the next one. */
  readonly firstVersion: number;
}

export type Order =
  /** Read every key until each is a local hit. */
  | { readonly kind: 'hold' }
  /** Write every `of`-th group from the `mine`-th on, and watch for all of them to be in the local tier. */
  | { readonly kind: 'change'; readonly plan: Plan; readonly mine: number; readonly of: number }
  | { readonly kind: 'state' }
  /** Wait until nothing but this version is held, and the log is heard; then until a read of every key gives it. */
  | { readonly kind: 'right'; readonly version: number };

/** All times by {@link nowMs}. */
export type Reply =
  | { readonly kind: 'done' }
  | {
      readonly kind: 'changed';
      /** Group → when its write began, of the groups that were this process's. */
      readonly beganMs: Readonly<Record<number, number>>;
      /** When each group was in the local tier. */
      readonly seenMs: readonly number[];
    }
  | { readonly kind: 'state'; readonly state: 'fresh' | 'blind' }
  | { readonly kind: 'right'; readonly tierMs: number; readonly readsMs: number }
  | { readonly kind: 'failed'; readonly reason: string };

/** Milliseconds since the machine started (CLOCK_MONOTONIC): one clock for all processes of a machine. */
export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

export function keyOf(id: number): string {
  return `product_info_${id}`;
}

/** What a group changes, and when it is due. */
export function groupOf(
  { startMs, firstVersion }: Plan,
  group: number,
): { readonly ids: readonly number[]; readonly version: number; readonly dueMs: number } {
  const first = group * GROUP;
  return {
    ids: Array.from({ length: GROUP }, (_, offset) => (first + offset) % KEYS),
    version: firstVersion + Math.floor(first / KEYS),
    dueMs: startMs + (first * 1_000) / PER_SECOND,
  };
}

/** The version that every key has after a plan of whole passes. */
export function lastVersion({ groups, firstVersion }: Plan): number {
  return firstVersion + (groups * GROUP) / KEYS - 1;
}
