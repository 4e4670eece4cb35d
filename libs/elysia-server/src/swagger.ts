/** The API documentation: OpenAPI from the routes' `detail`, and a page that needs nothing from any other host. */
import { STATUS_CODES } from 'node:http';
import { fileURLToPath } from 'node:url';
import { swagger } from '@elysiajs/swagger';
import { Elysia } from 'elysia';
import { BEARER_SCHEMES, withSecurity } from './swagger-security.ts';

export interface OpenApiOptions {
  readonly info?: { readonly contact?: object; readonly license?: { readonly name: string; readonly url?: string } };
  readonly tags?: readonly { readonly name: string; readonly description?: string }[];
  /** In OpenAPI 3.0's dialect of JSON Schema (`z.toJSONSchema(…, { target: 'openapi-3.0' })`). */
  readonly components?: { readonly schemas?: Readonly<Record<string, object>>; readonly [kind: string]: unknown };
}

export interface SwaggerOptions {
  readonly title: string;
  readonly version: string;
  readonly description: string;
  readonly openapi: OpenApiOptions;
  /** Whether the operations whose detail has `security` need a token. */
  readonly hasAuth: boolean;
}

/** `blob:` and `data:` are for the page's own icons and downloads; Swagger UI sets styles on elements. */
const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const ASSET_CACHE = 'public, max-age=3600';
const HIDDEN = { detail: { hide: true } };

const ASSETS = [
  ['swagger-ui.css', 'text/css;charset=utf-8'],
  ['swagger-ui-bundle.js', 'text/javascript;charset=utf-8'],
] as const;

/** `validatorUrl` is off: it would send the document's address to a public service. */
const START_SCRIPT = `SwaggerUIBundle({
  url: '/swagger/json',
  dom_id: '#swagger-ui',
  deepLinking: true,
  persistAuthorization: true,
  displayRequestDuration: true,
  validatorUrl: null,
});
`;

/** Mounts /swagger, /swagger/json and the page's files. */
export function swaggerRoutes({ title, version, description, openapi, hasAuth }: SwaggerOptions): Elysia {
  const components = { ...openapi.components, ...(hasAuth ? { securitySchemes: BEARER_SCHEMES } : {}) };
  const documentation = { ...openapi, components, info: { ...openapi.info, title, version, description } };
  // The plugin is there for the document. Its own page, which loads its script from a public host, is replaced below.
  const plugin = swagger({ path: '/swagger', documentation: documentation as never, excludeStaticFile: false });
  const describe = plugin.routes.find((route) => route.path === '/swagger/json')?.handler as () => ApiDocument;
  const app = new Elysia({ name: 'swagger-pages' }).use(plugin);
  app.get('/swagger/json', () => Response.json(completed(describe(), hasAuth)), HIDDEN);
  const page = pageOf(title);
  const pageHeaders = { 'content-type': 'text/html;charset=utf-8', 'content-security-policy': PAGE_POLICY };
  app.get('/swagger', () => new Response(page, { headers: pageHeaders }), HIDDEN);
  app.get('/swagger/start.js', () => asset(START_SCRIPT, 'text/javascript;charset=utf-8'), HIDDEN);
  for (const [name, type] of ASSETS) {
    const path = fileURLToPath(import.meta.resolve(`swagger-ui-dist/${name}`));
    app.get(`/swagger/${name}`, () => asset(Bun.file(path), type), HIDDEN);
  }
  return app as unknown as Elysia;
}

interface ApiDocument {
  readonly paths: Record<string, Record<string, { responses?: Record<string, { description?: string }> }>>;
}

/** OpenAPI wants a description of every response; the plugin leaves it out where a route has none. Tokens are added. */
function completed(document: ApiDocument, hasAuth: boolean): ApiDocument {
  const operations = Object.values(document.paths).flatMap((path) => Object.values(path));
  for (const operation of operations) {
    withSecurity(operation, hasAuth);
    for (const [status, response] of Object.entries(operation.responses ?? {})) {
      response.description ??= STATUS_CODES[status] ?? 'The reply.';
    }
  }
  return document;
}

function asset(body: string | Blob, type: string): Response {
  return new Response(body, { headers: { 'content-type': type, 'cache-control': ASSET_CACHE } });
}

function pageOf(title: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${Bun.escapeHTML(title)}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/swagger/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/swagger/swagger-ui-bundle.js"></script>
<script src="/swagger/start.js"></script>
</body>
</html>
`;
}
