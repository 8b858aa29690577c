import type { LocalEntry, TierWrite } from '../../src/core/ports.ts';

/** A change of 300 bytes as the pipeline has it in hand: what it stages, and what it offers to the fence. */
export function changeOf(
  key: string,
  version: number,
): { readonly write: TierWrite; readonly entry: LocalEntry } {
  const record = {
    key,
    text: `{"key":"${key}","version":${version},"padding":"${'x'.repeat(240)}"}`,
    version: { kind: 'counter', digits: String(version) },
    origin: { stream: 'bench-0', epoch: 0, position: String(version) },
  } as const;
  return {
    write: { ...record, op: 'upsert', ttlMs: 0, fenceTtlMs: 0, seen: undefined },
    entry: { ...record, storedMs: Date.now(), ttlMs: 600_000 },
  };
}
