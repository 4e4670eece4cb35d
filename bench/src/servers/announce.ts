/** A server of the bench tells its parent where it listens, and ends when the parent is gone. */

export interface Listening {
  readonly type: 'listening';
  readonly port: number;
}

export function announce(port: number): void {
  process.on('disconnect', () => process.exit(0));
  const message: Listening = { type: 'listening', port };
  process.send?.(message);
}
