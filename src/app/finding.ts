import { asError } from '../core/errors.ts';

/** One thing that `cachewright doctor` saw. */
export interface Finding {
  /** `found`: something is not as it should be · `unreachable`: a dependency does not answer. */
  readonly level: 'ok' | 'found' | 'unreachable';
  /** What was looked at: `kafka`, `redis`, `audit`, `source <service>` … */
  readonly check: string;
  readonly text: string;
  /** What a person does about it; '' when there is nothing to do. */
  readonly next: string;
}

export function ok(check: string, text: string): Finding {
  return { level: 'ok', check, text, next: '' };
}

export function found(check: string, text: string, next: string): Finding {
  return { level: 'found', check, text, next };
}

export function unreachable(check: string, text: string, next: string): Finding {
  return { level: 'unreachable', check, text, next };
}

/** A check that never throws: what goes wrong is what it found. */
export async function guarded(
  check: string,
  look: () => Promise<readonly Finding[]>,
): Promise<readonly Finding[]> {
  try {
    return await look();
  } catch (thrown) {
    const error = asError(thrown);
    const level = error.outcome === 'unreachable' ? 'unreachable' : 'found';
    return [{ level, check, text: `${error.code}: ${error.message}`, next: error.next }];
  }
}
