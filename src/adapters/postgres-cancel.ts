import { connect } from 'node:net';
import type { ClientBase } from 'pg';

/** Code of a CancelRequest, and its length: https://www.postgresql.org/docs/current/protocol-message-formats.html */
const CANCEL_CODE = 80_877_102;
const CANCEL_BYTES = 16;
/** An old request to stop is of no use. */
const CONNECT_TIMEOUT_MS = 1_000;

/**
 * Asks the server to stop what this connection is doing, over a connection of its own; fire and forget, as the protocol
 * has it. Unencrypted even where the connection is not, as libpq did for decades: it holds nothing but a key for this.
 * pg knows the key and the address but does not declare them.
 */
export function cancelQuery(client: ClientBase): void {
  const { host, port, processID, secretKey } = client as ClientBase & {
    readonly host?: unknown;
    readonly port?: unknown;
    readonly processID?: unknown;
    readonly secretKey?: unknown;
  };
  if (typeof host !== 'string' || typeof port !== 'number') return;
  if (typeof processID !== 'number' || typeof secretKey !== 'number') return;
  const packet = Buffer.alloc(CANCEL_BYTES);
  packet.writeInt32BE(CANCEL_BYTES, 0);
  packet.writeInt32BE(CANCEL_CODE, 4);
  packet.writeInt32BE(processID, 8);
  packet.writeInt32BE(secretKey, 12);
  const socket = host.startsWith('/') ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
  socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy());
  // Without the request the server goes on until its `statement_timeout`: nobody waits for it here.
  socket.on('error', () => socket.destroy());
  socket.end(packet);
}
