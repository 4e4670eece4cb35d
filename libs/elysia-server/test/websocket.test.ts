import { expect, test } from 'bun:test';
import { startEcho } from './echo-server.ts';
import { exchange } from './raw-connection.ts';

test('an upgrade in a route reaches the handlers that were passed, untouched by Elysia', async () => {
  const opened: string[] = [];
  const echo = await startEcho({
    websocket: {
      open: () => {
        opened.push('open');
      },
      message: (socket, message) => {
        socket.send(typeof message === 'string' ? `text ${message}` : new Uint8Array([...message, 0xff]));
      },
    },
  });
  const socket = new WebSocket(`ws://127.0.0.1:${echo.port}/socket`);
  socket.binaryType = 'arraybuffer';
  const received: unknown[] = [];
  await new Promise((resolve) => socket.addEventListener('open', resolve));
  const both = new Promise<void>((resolve) => {
    socket.addEventListener('message', (event) => {
      received.push(event.data);
      if (received.length === 2) resolve();
    });
  });
  socket.send('hi');
  socket.send(new Uint8Array([1]));
  await both;
  expect(received[0]).toBe('text hi');
  expect(new Uint8Array(received[1] as ArrayBuffer)).toEqual(new Uint8Array([1, 0xff]));
  expect(opened).toEqual(['open']);
  expect(echo.server.stats).toMatchObject({ activeConnections: 1, requestsInFlight: 0 });

  const plain = await exchange(echo.port, 'GET /socket HTTP/1.1\r\nHost: test\r\n\r\n');
  expect(plain.status).toBe(426);
  socket.close();
  await echo.server.stop();
});
