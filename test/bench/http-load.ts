import { connect, type Socket } from 'node:net';

export interface HttpLoad {
  readonly requests: number;
  readonly durationMs: number;
  /** Milliseconds, one per request. */
  readonly latencies: readonly number[];
  /** Values of `x-cache`, counted. */
  readonly caches: ReadonlyMap<string, number>;
}

/**
 * Asks for paths over kept connections, each with one request under way at a time, for so long. The client costs little: it
 * looks for the headers it needs and counts bytes.
 *
 * @throws when an answer is not 200
 */
export async function loadHttp(
  url: string,
  pathOf: (request: number) => string,
  options: { readonly connections: number; readonly durationMs: number },
): Promise<HttpLoad> {
  const { hostname, port } = new URL(url);
  const latencies: number[] = [];
  const caches = new Map<string, number>();
  const startMs = performance.now();
  const untilMs = startMs + options.durationMs;
  let requests = 0;
  const drive = async (): Promise<void> => {
    const socket = connect(Number(port), hostname).setNoDelay(true);
    const answers = answersOf(socket);
    try {
      while (performance.now() < untilMs) {
        const sentMs = performance.now();
        socket.write(`GET ${pathOf((requests += 1))} HTTP/1.1\r\nhost: ${hostname}:${port}\r\n\r\n`);
        const { value: head } = await answers.next();
        latencies.push(performance.now() - sentMs);
        if (head === undefined || !head.startsWith('HTTP/1.1 200'))
          throw new Error(`not answered with 200: ${head?.slice(0, 200)}`);
        const cache = /\r\nx-cache: (\w+)/.exec(head)?.[1] ?? 'none';
        caches.set(cache, (caches.get(cache) ?? 0) + 1);
      }
    } finally {
      socket.destroy();
    }
  };
  await Promise.all(Array.from({ length: options.connections }, drive));
  return { requests: latencies.length, durationMs: performance.now() - startMs, latencies, caches };
}

/** The heads of the answers, each when its body has come too. */
async function* answersOf(socket: Socket): AsyncGenerator<string, undefined> {
  let rest = '';
  for await (const part of socket.setEncoding('latin1')) {
    rest += String(part);
    const headEnd = rest.indexOf('\r\n\r\n');
    if (headEnd === -1) continue;
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(rest)?.[1] ?? 0);
    if (rest.length < headEnd + 4 + length) continue;
    yield rest.slice(0, headEnd);
    rest = '';
  }
  return undefined;
}
