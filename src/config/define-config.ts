import type { ConfigInput } from './schema.ts';
import type { FunctionSourceInput } from './sources.ts';

/** A configuration, checked by the compiler and completed by the editor; it comes back as it is. */
export function defineConfig(config: ConfigInput): ConfigInput {
  return config;
}

/**
 * A source of your own for `services.<service>.source`.
 *
 * @param functions `fetch(id, signal)` gives one record, undefined or null when there is none; `fetchMany(ids, signal)`
 *   gives a map from id to record, without those there are none of. One of the two is needed; with both, chunks use
 *   `fetchMany`. A rejection is a failure of all that was asked, and is retried. Beside them the settings that other
 *   sources have: `timeoutMs`, `limits`, `breaker`, `maxAbsentRatio`.
 */
export function defineSource(functions: Omit<FunctionSourceInput, 'type'>): FunctionSourceInput {
  return { ...functions, type: 'function' };
}
