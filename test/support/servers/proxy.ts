import { connect, createServer, type Socket } from 'node:net';
import { listenOnLoopback } from './loopback.ts';

/** A TCP proxy in front of a real server, for faults between two healthy ends. */
export interface Proxy {
  readonly port: number;
  /** Connections open now. */
  connections(): number;
  /** Bytes that were swallowed by `block` and `dropReplies`: proof that the fault happened. */
  droppedBytes(): number;
  /** Breaks all open connections; new ones work. */
  cut(): void;
  /** Breaks all open connections and refuses new ones until `unblock`. */
  refuse(): void;
  /** Connections stay open and new ones are accepted, but nothing passes in either direction: a network partition. */
  block(): void;
  /** Requests arrive, replies do not: the client cannot know whether its command happened. */
  dropReplies(): void;
  /** Ends any fault. Connections that lost bytes are broken, since what follows would make no sense to either end. */
  unblock(): void;
  stop(): Promise<void>;
}

type Fault = 'none' | 'refuse' | 'block' | 'dropReplies';

interface Link {
  readonly client: Socket;
  readonly target: Socket;
  hasLostBytes: boolean;
}

/** Listens on loopback and passes on to `targetPort` there. */
export async function startProxy(targetPort: number): Promise<Proxy> {
  const links = new Set<Link>();
  let fault: Fault = 'none';
  let droppedBytes = 0;

  const pass = (link: Link, from: Socket, to: Socket, isDropped: () => boolean): void => {
    from.on('data', (bytes: Buffer) => {
      if (isDropped()) {
        droppedBytes += bytes.length;
        link.hasLostBytes = true;
      } else if (!to.write(bytes)) {
        from.pause();
        to.once('drain', () => from.resume());
      }
    });
    from.on('error', () => undefined); // 'close' follows
    from.on('end', () => to.end());
    from.on('close', () => {
      links.delete(link);
      to.destroy();
    });
  };

  const breakLinks = (which: (link: Link) => boolean): void => {
    for (const link of [...links].filter(which)) {
      link.client.resetAndDestroy();
      link.target.destroy();
    }
  };

  const server = createServer({ noDelay: true }, (client) => {
    if (fault === 'refuse') {
      client.resetAndDestroy();
      return;
    }
    const link: Link = {
      client,
      target: connect({ port: targetPort, host: '127.0.0.1', noDelay: true }),
      hasLostBytes: false,
    };
    links.add(link);
    pass(link, client, link.target, () => fault === 'block');
    pass(link, link.target, client, () => fault === 'block' || fault === 'dropReplies');
  });
  const port = await listenOnLoopback(server);

  return {
    port,
    connections: () => links.size,
    droppedBytes: () => droppedBytes,
    cut: () => breakLinks(() => true),
    refuse() {
      fault = 'refuse';
      breakLinks(() => true);
    },
    block: () => void (fault = 'block'),
    dropReplies: () => void (fault = 'dropReplies'),
    unblock() {
      fault = 'none';
      breakLinks((link) => link.hasLostBytes);
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        breakLinks(() => true);
      }),
  };
}
