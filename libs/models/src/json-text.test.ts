import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { findJsonError } from './json-error.ts';
import { parseJson, parseJsonText } from './json-text.ts';
import { findUtf8Error } from './utf8-error.ts';

const encode = (text: string) => new TextEncoder().encode(text);
const at = (text: string) => {
  const parsed = parseJson(encode(text));
  return parsed.ok ? 'fine' : parsed.offset;
};

/** JSON with a few bytes changed, so that most of it is nearly right. */
const nearlyJson = fc
  .tuple(
    fc.json({ maxDepth: 4 }),
    fc.array(
      fc.record({
        at: fc.nat(200),
        cut: fc.nat(2),
        put: fc.oneof(
          fc.constantFrom(...'{}[]",:\\/-+.eE019tfnu \t\n\r', '\\u12', 'true', 'nul', '\0', '\u00a0', '\ufeff'),
          fc.string({ maxLength: 2 }),
        ),
      }),
      { maxLength: 3 },
    ),
  )
  .map(([json, edits]) =>
    edits.reduce((text, edit) => {
      const place = edit.at % (text.length + 1);
      return text.slice(0, place) + edit.put + text.slice(place + edit.cut);
    }, json),
  );

describe('parseJson', () => {
  test('gives what JSON.parse gives, the last of equal keys included', () => {
    expect(parseJson(encode(' {"a":1,"a":{"é":"😀\\ud83d"},"":[1e2,-0.5,true,false,null]}\r\n'))).toEqual({
      ok: true,
      value: { a: { é: '😀\ud83d' }, '': [100, -0.5, true, false, null] },
    });
    expect(parseJsonText('[1]')).toEqual({ ok: true, value: [1] });
  });

  test('keeps __proto__ as a key of its own', () => {
    const parsed = parseJson(encode('{"__proto__":{"x":1}}'));
    expect(parsed.ok && Object.keys(parsed.value as object)).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  test.each([
    ['', 0],
    ['   ', 3],
    ['{', 1],
    ['{"a"', 4],
    ['{"a":', 5],
    ['{"a":1', 6],
    ['{"a":1,', 7],
    ['[1', 2],
    ['"abc', 4],
    ['"\\', 2],
    ['"\\u00', 5],
    ['tru', 3],
    ['-', 1],
    ['1.', 2],
    ['1e+', 3],
    ['{"a":1}x', 7],
    ['{} {}', 3],
    ['[1,]', 3],
    ['[,1]', 1],
    ['{"a":1,}', 7],
    ['{a:1}', 1],
    ["{'a':1}", 1],
    ['{"a" 1}', 5],
    ['{"a":1 "b":2}', 7],
    ['[1 2]', 3],
    ['{]', 1],
    ['[}', 1],
    ['01', 1],
    ['-01', 2],
    ['+1', 0],
    ['.5', 0],
    ['1.e5', 2],
    ['0x10', 1],
    ['NaN', 0],
    ['nULL', 1],
    ['"a\nb"', 2],
    ['"\\x41"', 2],
    ['"\\u12g4"', 5],
    ['["é😀",x]', 10],
    ['\u00a0{}', 0],
    ['\ufeff{}', 0],
    ['// x', 0],
    ['{"a":\u2028 1}', 5],
  ])('finds the first wrong byte of %j', (text, offset) => {
    expect(at(text)).toBe(offset);
    const fromText = parseJsonText(text);
    expect(!fromText.ok && fromText.offset).toBe(offset);
  });

  test('says in a sentence what was found and what was expected', () => {
    const messageOf = (text: string) => {
      const parsed = parseJson(encode(text));
      return parsed.ok ? '' : parsed.message;
    };
    expect(messageOf('{"a":}')).toBe('Found "}", expected a value.');
    expect(messageOf('{"a":1')).toBe('Found the end of the text, expected "," or "}".');
    expect(messageOf('[1]"')).toBe('Found a double quote, expected nothing more.');
    expect(messageOf('"\t"')).toBe('Found byte 0x09, expected the rest of a string, control characters escaped.');
    expect(messageOf('\ufeff1')).toBe('Found a byte order mark, expected JSON without one.');
    expect(messageOf('')).toBe('Found no text at all, expected a JSON value.');
  });

  test.each(['[', '{"a":', '[{"a":['])('locates an error behind a million levels of %s', (open) => {
    const text = open.repeat(1_000_000);
    expect(at(text)).toBe(text.length);
    expect(at(`${text}]]x`)).not.toBe('fine');
    const closed = '['.repeat(1_000_000) + ']'.repeat(1_000_000);
    expect(at(closed)).toBe('fine');
    expect(at(`${closed}]`)).toBe(closed.length);
  });

  test('works again after a refusal', () => {
    expect(parseJson(new Uint8Array([0x22, 0xc3]))).toMatchObject({ ok: false, offset: 1 });
    expect(parseJson(encode('"é"'))).toEqual({ ok: true, value: 'é' });
  });

  test('reads its own part of a larger buffer', () => {
    expect(parseJson(encode('xx[1]yy').subarray(2, 5))).toEqual({ ok: true, value: [1] });
    expect(parseJson(encode('xx[1,]yy').subarray(2, 6))).toMatchObject({ ok: false, offset: 3 });
  });
});

describe('the locator', () => {
  test('finds an error exactly when JSON.parse throws', () => {
    let malformed = 0;
    fc.assert(
      fc.property(nearlyJson, (text) => {
        const parsed = parseJsonText(text);
        const bytes = encode(text);
        const found = findJsonError(bytes);
        expect(found === undefined).toBe(parsed.ok);
        if (parsed.ok || found === undefined) return;
        malformed += 1;
        // What comes before the place can still become JSON: cut there, the text only ends too early.
        expect(found.offset).toBeLessThanOrEqual(bytes.length);
        const before = bytes.subarray(0, found.offset);
        expect(findJsonError(before)?.offset ?? before.length).toBe(before.length);
      }),
      { numRuns: 10_000 },
    );
    expect(malformed).toBeGreaterThan(1_000);
  });

  test('is never asked in vain: any bytes get a value or a place', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
        const parsed = parseJson(bytes);
        if (!parsed.ok) expect(parsed.offset).toBeWithin(0, bytes.length + 1);
      }),
      { numRuns: 5_000 },
    );
  });
});

describe('UTF-8', () => {
  const strict = new TextDecoder('utf-8', { fatal: true });
  const decodes = (bytes: Uint8Array) => {
    try {
      strict.decode(bytes);
      return true;
    } catch (error) {
      expect(error).toBeInstanceOf(TypeError);
      return false;
    }
  };
  const spicyBytes = fc.array(
    fc.oneof(
      fc.constantFrom(0x22, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xed, 0xef),
      fc.constantFrom(0xf0, 0xf4, 0xf5, 0xff),
    ),
    { maxLength: 6 },
  );

  test('is refused exactly when TextDecoder refuses it, at the first byte of the first bad sequence', () => {
    fc.assert(
      fc.property(spicyBytes, (list) => {
        const bytes = new Uint8Array(list);
        const offset = findUtf8Error(bytes);
        expect(offset === -1).toBe(decodes(bytes));
        if (offset !== -1) expect(decodes(bytes.subarray(0, offset))).toBe(true);
      }),
      { numRuns: 10_000 },
    );
  });

  test.each([
    ['a lone continuation', [0x22, 0x80, 0x22], 1],
    ['an overlong slash', [0x22, 0xc0, 0xaf, 0x22], 1],
    ['a surrogate', [0x22, 0x61, 0xed, 0xa0, 0x80, 0x22], 2],
    ['past U+10FFFF', [0x22, 0xf4, 0x90, 0x80, 0x80, 0x22], 1],
    ['a sequence cut off', [0x22, 0xe2, 0x82], 1],
    ['Latin-1', [0x22, 0xe9, 0x22], 1],
    ['UTF-16', [0xff, 0xfe, 0x7b, 0x00], 0],
    ['JSON that ends before it', [0x31, 0x20, 0x32, 0xff], 2],
  ])('%s is found', (_, list, offset) => {
    expect(parseJson(new Uint8Array(list))).toMatchObject({ ok: false, offset });
  });
});
