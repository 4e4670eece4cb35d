/** Zod's issues in our words: stable codes, paths with brackets, sentences that say what is allowed. */
import type { z } from 'zod';
import type { Problem, VerdictCode } from './codes.ts';
import { fieldPath } from './field-path.ts';

export type Issue = z.core.$ZodIssue;

/** `root` names the value itself in sentences, such as "The event". */
export function problemOfIssue(issue: Issue, value: unknown, root: string): Problem {
  const field = fieldPath(issue.path);
  const name = field === '' ? root : field;
  const sent = valueAt(value, issue.path);
  const problem = (code: VerdictCode, message: string, at = field): Problem => ({ code, field: at, message });

  if (issue.code === 'unrecognized_keys') {
    const at = fieldPath([...issue.path, issue.keys[0] ?? '']);
    return problem('unknown_field', `There is no field ${at}.`, at);
  }
  if (sent === undefined && issue.path.length > 0) return problem('missing_field', `${name} is required.`);
  if (issue.code === 'too_small' || issue.code === 'too_big') return boundProblem(issue, name, field);
  if (issue.code === 'invalid_type') {
    return problem('invalid_type', `${name} must be ${article(issue.expected)}, not ${typeName(sent)}.`);
  }
  return problem('invalid_type', `${name} is not what is allowed here: ${issue.message}.`);
}

function boundProblem(issue: Extract<Issue, { code: 'too_small' | 'too_big' }>, name: string, field: string): Problem {
  const isString = issue.origin === 'string';
  const unit = isString ? ' characters' : '';
  if (issue.code === 'too_small') {
    const code = isString ? 'too_short' : 'number_out_of_range';
    return { code, field, message: `${name} must be at least ${issue.minimum}${unit}${isString ? ' long' : ''}.` };
  }
  const code = isString ? 'too_long' : 'number_out_of_range';
  return { code, field, message: `${name} may be at most ${issue.maximum}${unit}${isString ? ' long' : ''}.` };
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value;
  for (const key of path) at = (at as Record<PropertyKey, unknown>)[key];
  return at;
}

/** What a JSON value is, with its article. */
export function typeName(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return article(Array.isArray(value) ? 'array' : typeof value);
}

function article(type: string): string {
  const name = type === 'int' ? 'integer' : type;
  return /^[aeiou]/.test(name) ? `an ${name}` : `a ${name}`;
}
