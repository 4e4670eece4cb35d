/** A WebSocket of the soak: sends events one by one, and gives each one its answer. */
import { openWebSocket } from './lanes.ts';
import type { SoakEvent } from './soak-events.ts';
import { clientFrame, createFrameReader, OPCODE_TEXT } from './ws-frames.ts';

export interface SoakSocket {
  send(event: SoakEvent): void;
  /** Closes it once every event has its answer, and says how many never had one. */
  finish(timeoutMs: number): Promise<number>;
}

export interface SoakSocketHandlers {
  settle(event: SoakEvent, verdict: string): void;
  lost(reason: string): void;
}

interface Reply {
  readonly type: string;
  readonly status?: string;
  readonly code?: string;
}

const POLL_MS = 20;
const WORDS: Readonly<Record<string, string>> = { received: 'accepted', duplicate: 'duplicate' };

export async function openSoakSocket(
  target: { readonly host: string; readonly port: number },
  { settle, lost }: SoakSocketHandlers,
): Promise<SoakSocket> {
  /** By the client's own counter, which replies repeat. */
  const waiting = new Map<number, SoakEvent>();
  let count = 0;
  const frames = createFrameReader((opcode, bytes, start, end) => {
    if (opcode !== OPCODE_TEXT) return lost(`a frame with opcode ${opcode}`);
    const reply = JSON.parse(bytes.toString('utf8', start, end)) as Reply & { readonly seq?: number };
    if (reply.type === 'hello') return;
    const event = waiting.get(reply.seq ?? 0);
    if (event === undefined) return lost(`${reply.type} for nothing that was sent`);
    waiting.delete(reply.seq as number);
    settle(event, reply.type === 'event_ack' ? (WORDS[reply.status ?? ''] ?? 'nonsense') : verdictOf(reply));
  });
  const connection = await openWebSocket(target, { data: frames.read, lost });
  return {
    send(event) {
      count += 1;
      waiting.set(count, event);
      const text = `{"type":"cart_event","seq":${count},"payload":${event.text}}`;
      const { bytes } = clientFrame(Buffer.from(text), count);
      connection.write(bytes, 0, bytes.length);
    },
    async finish(timeoutMs) {
      const endMs = performance.now() + timeoutMs;
      while (waiting.size > 0 && performance.now() < endMs) await Bun.sleep(POLL_MS);
      connection.close();
      return waiting.size;
    },
  };
}

const verdictOf = ({ type, code }: Reply): string => {
  if (type !== 'event_error') return type;
  return code === 'overloaded' || code === 'retry' ? `event_error ${code}` : 'rejected';
};
