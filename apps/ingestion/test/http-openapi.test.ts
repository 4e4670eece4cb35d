import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import Ajv from 'ajv';
import { type HttpService, startHttpService } from './http-service.ts';

interface Media {
  readonly schema: { readonly $ref?: string };
  readonly example?: unknown;
}
interface Content {
  readonly content?: Readonly<Record<string, Media>>;
}
interface Operation {
  readonly operationId: string;
  readonly summary: string;
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content>>;
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

const PATHS = {
  '/events': ['post'],
  '/events/batch': ['post'],
  '/health': ['get'],
  '/health/live': ['get'],
  '/health/ready': ['get'],
  '/metrics': ['get'],
  '/query': ['get', 'post'],
};

let service: HttpService;
let document: Document;
beforeAll(async () => {
  service = await startHttpService();
  document = (await (await fetch(`${service.url}/swagger/json`)).json()) as Document;
});
afterAll(() => service[Symbol.asyncDispose]());

function operations(): [string, Operation][] {
  return Object.entries(PATHS).flatMap(([path, methods]) =>
    methods.map((method): [string, Operation] => {
      const operation = document.paths[path]?.[method];
      if (operation === undefined) throw new Error(`${method} ${path} is not documented`);
      return [`${method} ${path}`, operation];
    }),
  );
}

describe('the API document', () => {
  test('is valid OpenAPI 3', async () => {
    const { valid, errors } = await new Validator().validate(structuredClone(document) as never);
    expect({ valid, errors }).toEqual({ valid: true, errors: undefined as never });
  });

  test('says of every operation what it is, what it answers, and how it fails', () => {
    const names = new Set<string>();
    for (const [name, operation] of operations()) {
      expect([name, operation.summary.length > 0]).toEqual([name, true]);
      names.add(operation.operationId);
      if (!name.includes('health') && !name.includes('metrics')) {
        expect(Object.keys(operation.responses).some((status) => status.startsWith('4'))).toBe(true);
      }
    }
    expect(names.size).toBe(operations().length);
  });

  test('its examples are what its schemas say', () => {
    const ajv = new Ajv({ strict: false, validateFormats: false });
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      ajv.addSchema(schema, `#/components/schemas/${name}`);
    }
    let examples = 0;
    for (const [name, operation] of operations()) {
      for (const { content } of [operation.requestBody ?? {}, ...Object.values(operation.responses)]) {
        for (const [type, { schema, example }] of Object.entries(content ?? {})) {
          if (schema.$ref === undefined || example === undefined) continue;
          const validate = ajv.getSchema(schema.$ref);
          if (validate === undefined) throw new Error(`${name}: ${schema.$ref} is not there`);
          expect([name, type, validate(example), validate.errors]).toEqual([name, type, true, null]);
          examples += 1;
        }
      }
    }
    expect(examples).toBeGreaterThan(20);
  });

  test('its examples are accepted by the service itself', async () => {
    for (const path of ['/events', '/events/batch'] as const) {
      for (const [type, { example }] of Object.entries(document.paths[path]?.['post']?.requestBody?.content ?? {})) {
        if (example === undefined) continue;
        const body = typeof example === 'string' ? example : JSON.stringify(example);
        const reply = await fetch(`${service.url}${path}`, { method: 'POST', body, headers: { 'content-type': type } });
        expect([path, type, [200, 202].includes(reply.status)]).toEqual([path, type, true]);
      }
    }
  });

  test('real replies are what its schemas say', async () => {
    const ajv = new Ajv({ strict: false, validateFormats: false });
    for (const [name, schema] of Object.entries(document.components.schemas)) {
      ajv.addSchema(schema, `#/components/schemas/${name}`);
    }
    const json = { 'content-type': 'application/json' };
    const replies: [string, string, RequestInit][] = [
      ['EventReply', '/events', { method: 'POST', body: '{}', headers: json }],
      ['ErrorBody', '/events', { method: 'POST', body: '{', headers: json }],
      ['BatchReply', '/events/batch', { method: 'POST', body: '{"events":[1]}', headers: json }],
      ['ErrorBody', '/events/batch', { method: 'POST', body: '{"events":[]}', headers: json }],
      ['Health', '/health', {}],
      ['Metrics', '/metrics', {}],
    ];
    for (const [name, path, init] of replies) {
      const body = await (await fetch(`${service.url}${path}`, init)).json();
      const validate = ajv.getSchema(`#/components/schemas/${name}`);
      expect([name, validate?.(body), validate?.errors]).toEqual([name, true, null]);
    }
  });
});
