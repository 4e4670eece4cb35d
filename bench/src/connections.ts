/** Plain TCP connections that write from buffers which stay as they are until they are written. */

export interface Connection {
  /** Writes `bytes` from `start` to `end`, now or as soon as the socket takes more; the bytes must not change until then. */
  write(bytes: Uint8Array, start: number, end: number): void;
  close(): void;
}

export interface ConnectionHandlers {
  /** `chunk` is gone when the call returns. What is thrown closes the connection with that reason. */
  data(chunk: Uint8Array): void;
  /** The connection is gone; not called after `close()`. */
  lost(reason: string): void;
}

interface Pending {
  readonly bytes: Uint8Array;
  start: number;
  readonly end: number;
}

export async function connect(host: string, port: number, handlers: ConnectionHandlers): Promise<Connection> {
  const pending: Pending[] = [];
  let isOver = false;

  function over(reason: string): void {
    if (isOver) return;
    isOver = true;
    handlers.lost(reason);
  }

  function flush(): void {
    for (let first = pending[0]; first !== undefined; first = pending[0]) {
      first.start += Math.max(0, socket.write(first.bytes, first.start, first.end - first.start));
      if (first.start < first.end) return;
      pending.shift();
    }
  }

  const socket = await Bun.connect({
    hostname: host,
    port,
    socket: {
      data(_socket, chunk) {
        if (isOver) return;
        try {
          handlers.data(chunk);
        } catch (error) {
          over(error instanceof Error ? error.message : String(error));
          socket.terminate();
        }
      },
      drain: flush,
      close: () => over('the server closed a connection'),
      error: (_socket, error) => over(`a connection failed: ${error.message}`),
    },
  });
  socket.setNoDelay(true);

  return {
    write(bytes, start, end) {
      if (isOver) return;
      const written = pending.length > 0 ? 0 : Math.max(0, socket.write(bytes, start, end - start));
      if (start + written < end) pending.push({ bytes, start: start + written, end });
    },
    close() {
      isOver = true;
      socket.terminate();
    },
  };
}
