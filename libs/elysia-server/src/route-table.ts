/** Which methods a path answers to, from the routes that the application has anyway. */

export interface RouteTable {
  /** Upper case, sorted; HEAD where there is GET, and OPTIONS. Empty for a path that is not there. */
  methodsOf(path: string): readonly string[];
  /** False where HEAD is only GET without the body. */
  hasOwn(method: string, path: string): boolean;
}

export interface Route {
  readonly method: string;
  readonly path: string;
}

/** `routes` is called at every question: routes may be added until the server listens, and questions are rare. */
export function createRouteTable(routes: () => readonly Route[]): RouteTable {
  function own(path: string): Set<string> {
    const methods = new Set<string>();
    for (const route of routes()) {
      if (!matches(route.path, path)) continue;
      // WS is Elysia's name for an upgrade, which is a GET; a route for ALL never lets a wrong method come this far.
      methods.add(route.method === 'WS' || route.method === 'ALL' ? 'GET' : route.method.toUpperCase());
    }
    return methods;
  }

  function methodsOf(path: string): readonly string[] {
    const methods = own(path);
    if (methods.size === 0) return [];
    if (methods.has('GET')) methods.add('HEAD');
    methods.add('OPTIONS');
    return [...methods].sort();
  }

  return { methodsOf, hasOwn: (method, path) => own(path).has(method) };
}

/** Elysia's patterns: `:name`, `:name?` and `*`; one slash at the end does not matter. */
function matches(pattern: string, path: string): boolean {
  const wanted = segmentsOf(pattern);
  const given = segmentsOf(path);
  for (const [index, segment] of wanted.entries()) {
    if (segment === '*') return given.length > index;
    const value = given[index];
    if (segment.startsWith(':')) {
      if (value === undefined && segment.endsWith('?')) continue;
      if (value === undefined || value === '') return false;
    } else if (segment !== value) return false;
  }
  return given.length <= wanted.length;
}

function segmentsOf(path: string): string[] {
  const trimmed = path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
  return trimmed.split('/').slice(1);
}
