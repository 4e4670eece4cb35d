export { type Auth, type AuthOptions, createAuth, SECRET_BYTES_MIN, secretProblem, TOKEN_CHARS_MAX } from './auth.ts';
export { anyoneMayWriteWarning, isLoopback } from './open-warning.ts';
export { allows, mayWriteTo, type Permission, type Principal, SCOPES } from './principal.ts';
