/** Options that several commands share. */
import { type Command, InvalidArgumentError } from 'commander';
import { type Config, parseServiceUrl } from './config.ts';
import { CommandError, EXIT_CODE } from './exit-code.ts';
import { createService, type Service } from './service.ts';

export const EXIT_CODES_HELP = `
Exit codes
  0  everything went well
  1  something was rejected, or the command failed
  2  arguments, a mapping or an input that cannot be used
  3  the service cannot be reached, or took nothing for as long as --retry-for allows
  130  interrupted (Ctrl-C); what was confirmed until then stands
`;

export interface ServiceFlags {
  readonly url: string;
  readonly token?: string;
  readonly json: boolean;
}

interface WithConfig {
  readonly config: Config;
}

/** What every command takes that talks to the service. The token's default is not shown: help texts get pasted. */
export function common(
  command: Command,
  { config }: WithConfig,
  json = 'print the result, and errors, as JSON',
): Command {
  return command
    .option('--url <url>', "the service's address (or WEIR_URL)", config.url)
    .option('--token <token>', 'for a service that asks for one (or, unseen by others, WEIR_TOKEN)')
    .option('--json', json, false)
    .addHelpText('after', EXIT_CODES_HELP);
}

export function serviceOf(flags: ServiceFlags, { config }: WithConfig, timeoutMs: number): Service {
  return createService(parseServiceUrl(flags.url), timeoutMs, checkedToken(flags.token ?? config.token));
}

/** A token that no header could carry is refused before anything is sent, and not shown. */
function checkedToken(token: string | undefined): string | undefined {
  if (token === undefined || /^[\x21-\x7e]+$/.test(token)) return token;
  const what = token === '' ? 'it is empty' : 'it holds a blank, a line break or another character that no token has';
  throw new CommandError(
    EXIT_CODE.usage,
    'invalid_token',
    `The token (--token or WEIR_TOKEN) cannot be sent: ${what}.`,
  );
}

export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
  };
}
