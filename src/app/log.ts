import pino from 'pino';
import type { Log } from '../core/ports.ts';

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  /** `json`: a line per record for machines; `pretty`: for people at a terminal. */
  readonly format: 'json' | 'pretty';
}

/** The process's log, on stderr: stdout belongs to data. Synchronous, so that the last words of a process are not lost. */
export function createLog(options: LogOptions): Log {
  const stream = options.format === 'pretty' ? prettyStream() : pino.destination({ fd: 2, sync: true });
  return pino({ level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, stream);
}

const LEVELS: Readonly<Record<number, string>> = { 20: 'debug', 30: 'info ', 40: 'WARN ', 50: 'ERROR' };
const OWN_FIELDS = new Set(['level', 'time', 'msg']);

function prettyStream(): { write(line: string): void } {
  return {
    write(line) {
      const record = JSON.parse(line) as Record<string, unknown>;
      const fields = Object.entries(record)
        .filter(([name]) => !OWN_FIELDS.has(name))
        .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
      const level = LEVELS[Number(record['level'])] ?? String(record['level']);
      process.stderr.write(
        `${String(record['time']).slice(11, 23)} ${level} ${String(record['msg'])}${fields.length > 0 ? `  ${fields.join(' ')}` : ''}\n`,
      );
    },
  };
}
