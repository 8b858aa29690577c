import type { Server } from 'node:net';

/** Lets an in-process server listen on loopback and returns its port. Port 0 is safe here: the socket is never given back in between. */
export function listenOnLoopback(server: Server, port = 0): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      if (typeof address === 'object' && address !== null) resolve(address.port);
      else reject(new Error('not a TCP server'));
    });
  });
}
