import { type LogEntry, logLevel } from 'kafkajs';
import type { Log } from '../core/ports.ts';

/** Sees a line of kafkajs besides the log. */
export type KafkaLine = (message: string) => void;

/** Fields of kafkajs's lines that help; others may hold payloads. */
const FIELDS = [
  'groupId',
  'memberId',
  'broker',
  'topic',
  'partition',
  'retryCount',
  'retryTime',
  'error',
] as const;
/** A line that comes again within this time is told at level debug: a client whose broker is away says the same each second. */
const REPEAT_MS = 10_000;
const REMEMBERED_LINES = 100;

/**
 * kafkajs's lines in our log. Its errors are mostly lost connections that it mends by itself, so they are warnings here;
 * what it does not mend is told by the source.
 *
 * @param secret shown as `***` wherever it occurs; '' when there is none
 */
export function kafkaLog(log: Log, secret: string, onLine: KafkaLine): () => (entry: LogEntry) => void {
  const hide = (text: string): string => (secret === '' ? text : text.replaceAll(secret, '***'));
  const toldMs = new Map<string, number>();
  const isRepeated = (message: string): boolean => {
    const nowMs = performance.now();
    const lastMs = toldMs.get(message) ?? Number.NEGATIVE_INFINITY;
    if (nowMs - lastMs < REPEAT_MS) return true;
    if (toldMs.size >= REMEMBERED_LINES) toldMs.clear();
    toldMs.set(message, nowMs);
    return false;
  };
  return () =>
    ({ level, namespace, log: line }) => {
      const message = hide(`kafkajs ${namespace}: ${line.message}`);
      const fields: Record<string, unknown> = {};
      for (const name of FIELDS) {
        const value: unknown = line[name];
        if (value === undefined) continue;
        fields[name] =
          typeof value === 'string' ? hide(value) : value instanceof Error ? hide(value.message) : value;
      }
      onLine(line.message);
      const isTrouble = level === logLevel.ERROR || level === logLevel.WARN;
      if (isTrouble && !isRepeated(message)) log.warn(fields, message);
      else log.debug(fields, message);
    };
}
