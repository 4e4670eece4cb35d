/** GET /sinks, and DELETE /sinks/{name} for one that was taken out of the configuration. */
import { HttpError } from '@libs/elysia-server';
import type { Elysia } from 'elysia';
import type { RouteDeps } from './deps.ts';
import { guarded } from './guard.ts';
import { DROP_SINK_DETAIL, SINKS_DETAIL } from './openapi-sinks.ts';
import type { OperatorClient } from './operators-client.ts';
import { readQuery } from './operators-parameters.ts';
import { clip } from './replies.ts';

export function sinkRoutes(app: Elysia, { protect }: RouteDeps, operators: OperatorClient): void {
  async function list(request: Request): Promise<Response> {
    readQuery(request, {});
    return Response.json({ sinks: await operators.askFor(request, 'sinks', {}) });
  }

  async function drop(request: Request, name: string): Promise<Response> {
    readQuery(request, {});
    const { outcome, pendingEvents = 0 } = await operators.askFor(request, 'dropSink', { name });
    if (outcome === 'unknown') throw new HttpError(404, 'unknown_sink', `There is no sink ${clip(name)}.`);
    if (outcome === 'configured') {
      throw new HttpError(
        409,
        'sink_configured',
        `The sink ${clip(name)} is in use. Take it out of the configuration and start the service again, then drop it.`,
      );
    }
    return Response.json({ name, dropped: true, pendingEvents });
  }

  app.get('/sinks', guarded(protect, 'operate', list), { detail: SINKS_DETAIL });
  app.delete(
    '/sinks/:name',
    guarded(protect, 'operate', (request, _, { name = '' }) => drop(request, name)),
    {
      parse: 'none',
      detail: DROP_SINK_DETAIL,
    },
  );
}
