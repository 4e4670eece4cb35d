/** One command to a Redis, in the protocol's inline form. Undefined: it cannot be reached. */
export async function redis(port: number, command: string): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  let text = '';
  await Bun.connect({
    hostname: '127.0.0.1',
    port,
    socket: {
      open: (socket) => void socket.write(`${command}\r\nQUIT\r\n`),
      data: (_socket, chunk) => {
        text += chunk.toString();
      },
      close: () => resolve(text === '' ? undefined : text.replace(/\+OK\r\n$/, '').trim()),
      error: () => resolve(undefined),
    },
  }).catch(() => resolve(undefined));
  return promise;
}
