/** The command line's only reader of the environment. */
import { CommandError, EXIT_CODE } from './exit-code.ts';

export const DEFAULT_URL = 'http://127.0.0.1:3001';

export interface Config {
  /** From WEIR_URL; where no `--url` is given. */
  readonly url: string;
  /** From WEIR_TOKEN; where no `--token` is given. */
  readonly token: string | undefined;
  /** Handed on whole to the service that `start` becomes. */
  readonly environment: Readonly<Record<string, string>>;
}

export function readConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const url = environment['WEIR_URL']?.trim();
  const token = environment['WEIR_TOKEN']?.trim();
  const given = Object.entries(environment).filter((entry): entry is [string, string] => entry[1] !== undefined);
  return {
    url: url === undefined || url === '' ? DEFAULT_URL : url,
    token: token === '' ? undefined : token,
    environment: Object.fromEntries(given),
  };
}

/** The service's base address, without a slash at its end. Throws `CommandError` (usage) for anything but http(s). */
export function parseServiceUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new CommandError(
      EXIT_CODE.usage,
      'invalid_url',
      `The service's address must be an http or https URL such as ${DEFAULT_URL}, not "${text}".`,
    );
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new CommandError(
      EXIT_CODE.usage,
      'invalid_url',
      "The service's address must hold neither a user name, nor a password, a query or a fragment.",
    );
  }
  return url.href.replace(/\/+$/, '');
}
