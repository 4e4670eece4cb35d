/**
 * Makes the strings of `data` and `metadata` harmless to whoever shows them: keys and values alike, except that only
 * values can be script URLs. Sanitising what is already sanitised changes nothing.
 */
import type { Problem } from './codes.ts';
import { fieldPath } from './field-path.ts';
import { FORBIDDEN_KEY_MESSAGE, isForbiddenKey } from './inspect.ts';
import { isScriptUrl } from './script-url.ts';

/** Unicode's control characters (C0, DEL, C1) but tab and newline. */
const CONTROL = /[\p{Cc}--[\t\n]]/gv;

/** What the HTML tokenizer takes for a tag, a closing tag, a comment or a processing instruction. */
const TAG_OPEN = /<(?=[A-Za-z/!?])/g;

/** ` on…=` after a quote: an event handler that breaks out of an attribute. Names end where an attribute's does. */
const HANDLER = /(["'`]\s+on[^\s"'`<>=/&;]*\s*)=/gi;

/** One cheap test (no Unicode mode) that says no for nearly every string; lone surrogates and script URLs apart. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const SUSPECT_TEXT = /[\x00-\x08\x0b-\x1f\x7f-\x9f<"'`]/;

/**
 * Matches the JSON text of an event (as JSON.stringify writes it) whenever some string in it might need sanitising,
 * script URLs apart: escapes cover control characters, lone surrogates, tabs, newlines and double quotes; DEL and C1 are
 * written as they are. An apostrophe alone is none: titles are full of them.
 */
export const SUSPECT_JSON: RegExp = /[\\<\x7f-\x9f]|['`]\s+on/i;

/** A key, or a value without the rule for script URLs. */
function sanitiseKey(text: string): string {
  if (!SUSPECT_TEXT.test(text)) return text.toWellFormed();
  return text.replace(CONTROL, '').toWellFormed().replace(TAG_OPEN, '&lt;').replace(HANDLER, '$1&#61;');
}

/** A string value. */
export function sanitiseText(text: string): string {
  const clean = sanitiseKey(text);
  return isScriptUrl(clean) ? `unsafe:${clean}` : clean;
}

export type Sanitised = { readonly value: object } | { readonly problem: Problem };

/**
 * Sanitises an object that has passed the inspector (so its depth is bounded). Returns the very same object when
 * nothing changed, else a copy that shares what did not change. Of keys that become equal, the last one wins.
 */
export function sanitiseObject(container: object, name: string): Sanitised {
  const path: (string | number)[] = [name];
  const value = copyObject(container, path);
  if (value !== undefined) return { value: value as object };
  return { problem: { code: 'forbidden_key', field: fieldPath(path), message: FORBIDDEN_KEY_MESSAGE } };
}

/** Undefined: a key became a forbidden one, and `path` says which. */
function copyValue(value: unknown, path: (string | number)[]): unknown {
  if (typeof value === 'string') return sanitiseText(value);
  if (typeof value !== 'object' || value === null) return value;
  return Array.isArray(value) ? copyArray(value, path) : copyObject(value, path);
}

function copyArray(items: readonly unknown[], path: (string | number)[]): unknown[] | undefined {
  let copy: unknown[] | undefined;
  for (let index = 0; index < items.length; index += 1) {
    path.push(index);
    const value = copyValue(items[index], path);
    if (value === undefined) return undefined;
    path.pop();
    if (value === items[index]) continue;
    copy ??= items.slice();
    copy[index] = value;
  }
  return copy ?? (items as unknown[]);
}

function copyObject(object: object, path: (string | number)[]): object | undefined {
  const source = object as Record<string, unknown>;
  let changed: Map<string, { name: string; value: unknown }> | undefined;
  for (const key in source) {
    path.push(key);
    const name = sanitiseKey(key);
    if (isForbiddenKey(name)) return undefined;
    const value = copyValue(source[key], path);
    if (value === undefined) return undefined;
    path.pop();
    if (name === key && value === source[key]) continue;
    changed ??= new Map();
    changed.set(key, { name, value });
  }
  return changed === undefined ? object : applyChanges(source, changed);
}

function applyChanges(source: Record<string, unknown>, changed: Map<string, { name: string; value: unknown }>): object {
  const copy: Record<string, unknown> = {};
  for (const key in source) {
    const change = changed.get(key);
    if (change === undefined) copy[key] = source[key];
    else copy[change.name] = change.value;
  }
  return copy;
}
