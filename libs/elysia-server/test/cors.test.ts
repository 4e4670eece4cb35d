import { describe, expect, test } from 'bun:test';
import { startEcho } from './echo-server.ts';

const SHOP = 'https://shop.example';

function preflight(url: string, origin: string): Promise<Response> {
  const headers = {
    origin,
    'access-control-request-method': 'POST',
    'access-control-request-headers': 'content-type,x-request-id',
  };
  return fetch(url, { method: 'OPTIONS', headers });
}

describe('CORS', () => {
  test('an allowed origin, and no other one, is let in, with credentials', async () => {
    const echo = await startEcho({ corsOrigins: [SHOP] });
    const allowed = await preflight(`${echo.url}/echo`, SHOP);
    expect(allowed.status).toBe(204);
    expect(allowed.headers.get('access-control-allow-origin')).toBe(SHOP);
    expect(allowed.headers.get('access-control-allow-credentials')).toBe('true');
    expect(allowed.headers.get('access-control-allow-methods')).toBe('OPTIONS, POST');
    expect(allowed.headers.get('access-control-allow-headers')?.toLowerCase()).toContain('content-encoding');
    expect(allowed.headers.get('vary')).toBe('Origin');

    for (const origin of ['https://shop.example.evil', 'http://shop.example', 'null']) {
      const refused = await preflight(`${echo.url}/echo`, origin);
      expect(refused.headers.has('access-control-allow-origin')).toBe(false);
      expect(refused.headers.has('access-control-allow-methods')).toBe(false);
      expect(refused.headers.get('vary')).toBe('Origin');
    }
    for (const path of ['/hello', '/nowhere', '/broken']) {
      const reply = await fetch(`${echo.url}${path}`, { headers: { origin: SHOP } });
      expect(reply.headers.get('access-control-allow-origin')).toBe(SHOP);
      expect(reply.headers.get('access-control-expose-headers')).toContain('X-Request-Id');
    }
    await echo.server.stop();
  });

  test('* lets everybody in, and never with credentials', async () => {
    const echo = await startEcho({ corsOrigins: ['*', SHOP] });
    for (const reply of [await preflight(`${echo.url}/echo`, SHOP), await fetch(`${echo.url}/hello`)]) {
      expect(reply.headers.get('access-control-allow-origin')).toBe('*');
      expect(reply.headers.has('access-control-allow-credentials')).toBe(false);
    }
    await echo.server.stop();
  });

  test('without an allow-list there is not a word about it', async () => {
    const echo = await startEcho();
    const reply = await preflight(`${echo.url}/echo`, SHOP);
    expect(reply.status).toBe(204);
    expect([...reply.headers.keys()].filter((name) => name.startsWith('access-control') || name === 'vary')).toEqual(
      [],
    );
    await echo.server.stop();
  });
});
