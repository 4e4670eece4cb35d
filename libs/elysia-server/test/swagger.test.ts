import { afterAll, beforeAll, expect, test } from 'bun:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { type EchoServer, startEcho } from './echo-server.ts';

let echo: EchoServer;

beforeAll(async () => {
  echo = await startEcho({
    name: 'Echo <&> "service"',
    openapi: {
      info: { license: { name: 'MIT' } },
      tags: [{ name: 'echo', description: 'What comes back.' }],
      components: { schemas: { Thing: { type: 'object', properties: { id: { type: 'string' } } } } },
    },
  });
});
afterAll(async () => {
  await echo.server.stop();
});

test('the JSON is valid OpenAPI 3 and holds every route and schema', async () => {
  const response = await fetch(`${echo.url}/swagger/json`);
  expect(response.headers.get('content-type')).toContain('application/json');
  const document = (await response.json()) as { paths: object; components: { schemas: object }; info: object };
  const result = await new Validator().validate(document);
  expect(result.errors).toBeUndefined();
  expect(result.valid).toBe(true);
  expect(Object.keys(document.paths)).toContain('/things/{id}');
  expect(Object.keys(document.paths).filter((path) => path.startsWith('/swagger'))).toEqual([]);
  expect(Object.keys(document.components.schemas)).toEqual(['Thing']);
  expect(document.info).toEqual({
    title: 'Echo <&> "service"',
    version: '1.2.3',
    description: 'Answers with what it got.',
    license: { name: 'MIT' },
  });
});

test('the page and all that it loads come from here', async () => {
  const response = await fetch(`${echo.url}/swagger`);
  expect(response.headers.get('content-type')).toContain('text/html');
  // The browser itself sees to it that nothing is fetched from elsewhere.
  expect(response.headers.get('content-security-policy')).toContain("default-src 'none'");
  const page = await response.text();
  expect(page).not.toContain('<&>');
  const targets = [...page.matchAll(/(?:src|href)="([^"]*)"/g)].map((match) => match[1] as string);
  const files = targets.filter((target) => !target.startsWith('data:'));
  expect(files.length).toBeGreaterThanOrEqual(3);
  for (const file of files) {
    expect(file).toStartWith('/');
    expect(file).not.toStartWith('//');
    const reply = await fetch(`${echo.url}${file}`);
    expect(reply.status).toBe(200);
    expect((await reply.text()).length).toBeGreaterThan(100);
    expect(reply.headers.get('content-type')).toMatch(/^text\/(css|javascript)/);
  }
  expect(page).not.toMatch(/https?:/);
});

test('the page starts with our document and no public validator', async () => {
  const script = await (await fetch(`${echo.url}/swagger/start.js`)).text();
  expect(script).toContain("url: '/swagger/json'");
  expect(script).toContain('validatorUrl: null');
});
