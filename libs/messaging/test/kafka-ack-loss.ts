/** A proxy before a broker that passes requests on and, while it is told so, loses the answers together with the connection. */
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface AckLossProxy extends AsyncDisposable {
  readonly port: number;
  target: { readonly host: string; readonly port: number } | undefined;
  /** The next so many answers to Produce requests are lost. */
  lose(answers: number): void;
  lost(): number;
  /** Produce requests that were passed on. */
  produced(): number;
}

/** The API key stands behind the request's length; Produce is 0. https://kafka.apache.org/protocol.html#protocol_messages */
const API_KEY_AT = 4;
/** Requests of kafkajs arrive in pieces; only a large one or this one begins with a Produce header of ours. */
const HEADER_BYTES = 8;

export async function startAckLossProxy(): Promise<AckLossProxy> {
  const sockets = new Set<Socket>();
  let toLose = 0;
  let lost = 0;
  let produced = 0;

  function take(client: Socket): void {
    if (proxy.target === undefined) return void client.destroy();
    const server = connect(proxy.target);
    let hasProduced = false;
    const end = (): void => {
      for (const socket of [client, server]) {
        socket.destroy();
        sockets.delete(socket);
      }
    };
    client.on('data', (bytes: Buffer) => {
      if (bytes.length >= HEADER_BYTES && bytes.readInt16BE(API_KEY_AT) === 0) {
        hasProduced = true;
        produced++;
      }
      server.write(bytes);
    });
    server.on('data', (bytes: Buffer) => {
      if (hasProduced && toLose > 0) {
        toLose--;
        lost++;
        end();
      } else {
        client.write(bytes);
      }
      hasProduced = false;
    });
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on('error', end);
      socket.on('close', end);
    }
  }

  const listener = createServer(take);
  const { promise, resolve } = Promise.withResolvers<void>();
  listener.listen({ port: 0, host: '127.0.0.1' }, resolve);
  await promise;
  const proxy: AckLossProxy = {
    port: (listener.address() as AddressInfo).port,
    target: undefined,
    lose(answers) {
      toLose = answers;
    },
    lost: () => lost,
    produced: () => produced,
    async [Symbol.asyncDispose]() {
      listener.close();
      for (const socket of sockets) socket.destroy();
    },
  };
  return proxy;
}
