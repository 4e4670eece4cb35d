/** What operators ask of a running service: JSON both ways. */
import { CommandError, EXIT_CODE } from '../exit-code.ts';
import { readServiceError, type Service } from '../service.ts';
import { printable } from '../terminal.ts';

export interface OperatorService {
  /** Throws `CommandError` with the service's words for any status from 400 on, `Unreachable` without an answer. */
  ask<T>(method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown): Promise<T>;
}

export function createOperatorService(service: Service, stop: AbortSignal): OperatorService {
  return {
    async ask<T>(method: string, path: string, body?: unknown): Promise<T> {
      const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: JSON_HEADERS };
      const reply = await service.request(path, { method, ...sent }, stop);
      const text = await reply.text();
      if (reply.status >= 400) {
        const { code, message } = readServiceError(reply.status, text);
        throw new CommandError(EXIT_CODE.failed, code, printable(message));
      }
      return JSON.parse(text) as T;
    },
  };
}

const JSON_HEADERS = { 'content-type': 'application/json' };

/** A path with the parameters that are given. */
export function pathWith(path: string, parameters: Readonly<Record<string, string | number | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, String(value));
  return query.size === 0 ? path : `${path}?${query}`;
}
