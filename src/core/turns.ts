/** Gives back a turn; a second call does nothing. */
export type GiveBack = () => void;

/** Turns of at most `count` at once, first come, first served. */
export function createTurns(count: number): () => Promise<GiveBack> {
  const waiting: (() => void)[] = [];
  let free = count;
  const pass = (): void => {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  };
  return async () => {
    if (free > 0) free -= 1;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    let isGivenBack = false;
    return () => {
      if (isGivenBack) return;
      isGivenBack = true;
      pass();
    };
  };
}
