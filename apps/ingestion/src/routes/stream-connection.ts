/** What `/events/stream` remembers of a connection, and what it says of its events' origin. */
import type { Principal } from '@libs/auth';
import { ConnectionState } from '@libs/messaging';
import type { CartEventFrame } from '@libs/models';
import type { Origin } from '@libs/pipeline';
import type { ServerWebSocket } from 'bun';
import type { ConfirmationQueue } from './stream-confirmations.ts';
import { newToken, type StreamSession } from './stream-session.ts';

export type StreamSocket = ServerWebSocket<StreamConnection>;

/** Events of one connection that go to accept together, in the order of their arrival. */
export interface EventBatch {
  readonly frames: readonly CartEventFrame[];
  /** The events of all these frames. */
  readonly records: readonly unknown[];
  readonly bytes: number;
}

/** What came in a turn of the event loop that is not over. */
interface OpenBatch extends EventBatch {
  readonly frames: CartEventFrame[];
  readonly records: unknown[];
  bytes: number;
}

/** Idle, it is one small object: the id is made from the number, and the address is asked for, when they are needed. */
export class StreamConnection extends ConnectionState {
  /** Of all connections since the start; the text before it names the process. */
  readonly processName: string;
  readonly number: number;
  readonly userAgent: string | undefined;
  readonly referrer: string | undefined;
  /** Whom its token spoke for at the handshake; undefined while the service is open to all. */
  readonly principal: Principal | undefined;
  origin: Origin | undefined = undefined;
  batch: OpenBatch | undefined = undefined;
  confirmations: ConfirmationQueue | undefined = undefined;
  /** What the client may come back with. */
  readonly resumeToken = newToken();
  /** What it came back with, until hello has answered it; empty when that cannot be a token. */
  resume: string | undefined;
  /** From the first event with a `seq`, or taken over from the connection before. */
  session: StreamSession | undefined = undefined;
  hasCumulativeAcks = false;

  constructor(
    processName: string,
    number: number,
    userAgent: string | undefined,
    referrer: string | undefined,
    principal: Principal | undefined,
    resume: string | undefined,
  ) {
    super();
    this.processName = processName;
    this.number = number;
    this.userAgent = userAgent;
    this.referrer = referrer;
    this.principal = principal;
    this.resume = resume;
  }
}

export function connectionIdOf(connection: StreamConnection): string {
  return `${connection.processName}-${connection.number.toString(36)}`;
}

/** Made at the first event and kept. */
export function originOf(ws: StreamSocket): Origin {
  const { userAgent, referrer } = ws.data;
  ws.data.origin ??= {
    requestId: connectionIdOf(ws.data),
    ...(ws.remoteAddress === '' ? {} : { ipAddress: ws.remoteAddress }),
    ...(userAgent === undefined ? {} : { userAgent }),
    ...(referrer === undefined ? {} : { referrer }),
  };
  return ws.data.origin;
}
