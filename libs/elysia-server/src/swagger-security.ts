/** What the API document says about tokens: the Authorize button of the page, and who is refused. */

interface Operation {
  security?: unknown;
  responses?: Record<string, object>;
}

/** In the `security` of an operation's `detail`: it needs a token as soon as the service asks for any. */
export const BEARER_SECURITY = [{ bearerAuth: [] as string[] }];

export const BEARER_SCHEMES = {
  bearerAuth: {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description:
      'A JSON Web Token signed with HS256 and the secret of the service, with exp. Its claim scope (or scopes) names events:write, ' +
      'query or admin, which includes both; without any, it may write events. The claim stores limits what it may write to ' +
      'these stores.',
  },
};

const UNAUTHORIZED = errorReply('There is no valid token.', {
  error: 'unauthorized',
  message: 'This needs "Authorization: Bearer TOKEN".',
});
const FORBIDDEN = errorReply('The token is valid, but does not allow this.', {
  error: 'forbidden',
  message: 'The token must have the scope admin for this.',
});

/** Adds the refusals to operations that need a token; without auth, none does, whatever its detail says. */
export function withSecurity(operation: Operation, hasAuth: boolean): void {
  if (operation.security === undefined) return;
  if (hasAuth) operation.responses = { ...operation.responses, '401': UNAUTHORIZED, '403': FORBIDDEN };
  else delete operation.security;
}

function errorReply(description: string, example: { readonly error: string; readonly message: string }) {
  const text = { type: 'string' };
  const schema = {
    type: 'object',
    required: ['error', 'message', 'requestId'],
    properties: { error: text, message: text, details: { type: 'object' }, requestId: text },
  };
  const requestId = '0199c2a4-7b21-7000-8d1e-2f3a4b5c6d7e';
  return { description, content: { 'application/json': { schema, example: { ...example, requestId } } } };
}
