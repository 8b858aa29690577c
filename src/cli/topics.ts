import type { Config } from '../config/schema.ts';
import { fail } from '../core/errors.ts';

/** The topic a command means: the one it was given, else the only one of the configuration. */
export function topicOf({ kafka }: Config, given: string | undefined): string | undefined {
  if (given !== undefined) return given;
  const names = (kafka?.topics ?? []).map(({ name }) => name);
  if (names.length > 1) throw fail('E_USAGE', { reason: `Choose one with --topic: ${names.join(', ')}.` });
  return names[0];
}
