/** A WebSocket on `/events/stream` in the hands of a test: what is sent and heard, message by message. */
import type { SentEvent } from './events.ts';
import { until } from './until.ts';

export interface Message extends Readonly<Record<string, unknown>> {
  readonly type: string;
}

export interface SocketClient {
  readonly messages: readonly Message[];
  send(event: SentEvent, seq?: number): void;
  heartbeat(): void;
  /** Asks for `event_confirmed` from now on. */
  subscribe(): void;
  /** Waits for so many messages of a type. */
  heard(type: string, count?: number): Promise<readonly Message[]>;
  /** Waits for the end; resolves to the close code. */
  closed(): Promise<number>;
  close(): void;
  /** Without the closing handshake. */
  cut(): void;
}

/** Resolves once the service has said hello; `resume` is the token of an earlier connection. */
export async function connectSocket(url: string, resume?: string): Promise<SocketClient> {
  const query = resume === undefined ? '' : `?resume=${resume}`;
  const socket = new WebSocket(`${url.replace('http', 'ws')}/events/stream${query}`);
  const messages: Message[] = [];
  let code: number | undefined;
  socket.onmessage = ({ data }) => messages.push(JSON.parse(String(data)));
  socket.onclose = (event) => {
    code = event.code;
  };
  const ofType = (type: string): Message[] => messages.filter((message) => message.type === type);

  async function heard(type: string, count = 1): Promise<readonly Message[]> {
    await until(
      () => ofType(type).length >= count || code !== undefined,
      () => `${count} × ${type}, after ${JSON.stringify(messages)}`,
    );
    if (ofType(type).length < count) throw new Error(`closed with ${code} before ${count} × ${type}`);
    return ofType(type);
  }

  await heard('hello');
  return {
    messages,
    send(event, seq) {
      socket.send(`{"type":"cart_event",${seq === undefined ? '' : `"seq":${seq},`}"payload":${event.text}}`);
    },
    heartbeat: () => socket.send('{"type":"heartbeat"}'),
    subscribe: () => socket.send('{"type":"subscribe"}'),
    heard,
    async closed() {
      await until(() => code !== undefined, 'the WebSocket is closed');
      return code as number;
    },
    close: () => socket.close(),
    cut: () => socket.terminate(),
  };
}
