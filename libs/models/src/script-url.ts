/** Strings that a browser runs when they stand where a URL does. */

/** Browsers ignore tabs and newlines anywhere in a URL, so `java\nscript:` is one too. */
const SCRIPT_URL = new RegExp(`^\\s*(?:${['javascript:', 'vbscript:', 'data:text/html'].map(spaced).join('|')})`, 'i');
const SHORTEST = 'vbscript:'.length;

function spaced(scheme: string): string {
  return scheme.split('').join('[\\t\\n]*');
}

/**
 * True for `javascript:`, `vbscript:` and `data:text/html` at the start, after blanks. Most strings are ruled out by their
 * first character.
 */
export function isScriptUrl(text: string): boolean {
  return text.length >= SHORTEST && mayBeginWithScheme(text.charCodeAt(0)) && SCRIPT_URL.test(text);
}

function mayBeginWithScheme(first: number): boolean {
  const lower = first | 0x20;
  return lower === 0x64 /* d */ || lower === 0x6a /* j */ || lower === 0x76 /* v */ || first <= 0x20 || first >= 0x7f;
}
