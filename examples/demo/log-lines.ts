import { dim, indent, print, red, yellow } from './screen.ts';

const KEPT = 40;
/** What the service logs begins with a time; what its command says to people does not. */
const LOG_LINE = /^\d\d:\d\d:\d\d\.\d{3} /;

/** The service's log: kept while servers start, shown while a message travels. */
export interface LogLines {
  take(line: string): void;
  /** Shows lines as they come, until the returned function is called. */
  show(): () => void;
  /** The last lines, for when the service does not start. */
  tail(): string;
}

export function createLogLines(): LogLines {
  const kept: string[] = [];
  let isShown = false;
  return {
    take(line) {
      kept.push(line);
      if (kept.length > KEPT) kept.shift();
      if (isShown && LOG_LINE.test(line)) print(indent(painted(line)));
    },
    show() {
      isShown = true;
      return () => {
        isShown = false;
      };
    },
    tail: () => kept.join('\n'),
  };
}

function painted(line: string): string {
  if (/^\S+ ERROR /.test(line)) return red(line);
  if (/^\S+ WARN {2}/.test(line)) return yellow(line);
  return dim(line);
}
