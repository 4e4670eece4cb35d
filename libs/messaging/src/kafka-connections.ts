/** The sockets of one client, so that they can be cut: kafkajs itself waits for answers that may never come. */
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ISocketFactory } from 'kafkajs';

const KEEP_ALIVE_MS = 60_000;

export interface Connections {
  readonly socketFactory: ISocketFactory;
  /** What waits for an answer on any of them fails at once. */
  cut(reason: string): void;
  /** … and no new ones are made. */
  end(): void;
}

export function createConnections(): Connections {
  const sockets = new Set<Socket>();
  let isOver = false;
  const socketFactory: ISocketFactory = ({ host, port, ssl, onConnect }) => {
    if (isOver) throw new Error('closed');
    const servername = isIP(host) === 0 ? { servername: host } : {};
    const socket = !ssl
      ? connectTcp({ host, port }, onConnect)
      : connectTls({ host, port, ...servername, ...ssl }, onConnect);
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.setNoDelay(true);
    return socket;
  };

  function cut(reason: string): void {
    // Without an error kafkajs would not notice before its next request timed out.
    for (const socket of sockets) socket.destroy(new Error(reason));
    sockets.clear();
  }

  function end(): void {
    isOver = true;
    cut('closed');
  }

  return { socketFactory, cut, end };
}
