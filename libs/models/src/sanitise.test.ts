import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { sanitiseObject, sanitiseText } from './sanitise.ts';

/** Text built from the pieces that the rules are about, so that rules meet each other. */
const spicyText = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        '<',
        '</',
        '<!',
        '<?',
        '< ',
        '<3',
        '<a',
        '"',
        "'",
        '`',
        ' ',
        '\t',
        '\n',
        '\r',
        '\0',
        '\x1b',
        '\x7f',
      ),
      fc.constantFrom(
        '\x85',
        '\x9f',
        '\ud83d',
        '\ude00',
        '😀',
        'é',
        ' on',
        'onload',
        'ONclick',
        '=',
        ' =',
        '/',
        '>',
        '&',
        ';',
      ),
      fc.constantFrom(
        'javascript:',
        'JavaScript:',
        'vbscript:',
        'data:text/html',
        'data:',
        'java',
        'script:',
        '\u00a0',
        ':',
      ),
      fc.string({ unit: 'binary', maxLength: 4 }),
    ),
    { maxLength: 12 },
  )
  .map((pieces) => pieces.join(''));

describe('sanitiseText', () => {
  test.each([
    ['plain text, 5 < 6, a<3, <<, < b', 'plain text, 5 < 6, a<3, <<, < b'],
    ['tab\tand\nnewline stay', 'tab\tand\nnewline stay'],
    ['a\0b\x01c\x08d\x0be\x0cf\rg\x1fh', 'abcdefgh'],
    ['DEL\x7f and C1 \x80\x85\x9f go', 'DEL and C1  go'],
    ['lone \ud800 and \udc00', 'lone \ufffd and \ufffd'],
    ['pairs 😀 stay', 'pairs 😀 stay'],
    ['<script>alert(1)</script>', '&lt;script>alert(1)&lt;/script>'],
    ['<!-- --><?xml <A', '&lt;!-- -->&lt;?xml &lt;A'],
    ['<\0img>', '&lt;img>'],
    ['javascript:alert(1)', 'unsafe:javascript:alert(1)'],
    [' \n\u00a0 JaVaScRiPt:x', 'unsafe: \n\u00a0 JaVaScRiPt:x'],
    ['VBSCRIPT:x', 'unsafe:VBSCRIPT:x'],
    ['\ufeffJavaScript:x', 'unsafe:\ufeffJavaScript:x'],
    ['\u2028vbscript:x', 'unsafe:\u2028vbscript:x'],
    ['\u3000data:text/html,x', 'unsafe:\u3000data:text/html,x'],
    ['data:text/html;base64,x', 'unsafe:data:text/html;base64,x'],
    ['\x01javascript:x', 'unsafe:javascript:x'],
    ['java\nscr\tipt:x', 'unsafe:java\nscr\tipt:x'],
    ['data:image/png;base64,x', 'data:image/png;base64,x'],
    ['see javascript: urls', 'see javascript: urls'],
    ['javascripture', 'javascripture'],
    ['x" onerror=alert(1)', 'x" onerror&#61;alert(1)'],
    ["x'  ONLOAD = f", "x'  ONLOAD &#61; f"],
    ['`\non=1', '`\non&#61;1'],
    ['" onx=1" ony=2', '" onx&#61;1" ony&#61;2'],
    ['" on\0click=', '" onclick&#61;'],
    ['rock on=1 and "on"=1 and "x on=2', 'rock on=1 and "on"=1 and "x on=2'],
    ['https://shop.example/?on=1&x=2', 'https://shop.example/?on=1&x=2'],
  ])('%j becomes %j', (sent, stored) => {
    expect(sanitiseText(sent)).toBe(stored);
  });

  test('leaves nothing behind that it removes, and a second time changes nothing', () => {
    fc.assert(
      fc.property(spicyText, (text) => {
        const clean = sanitiseText(text);
        expect(clean).not.toMatch(/[\p{Cc}--[\t\n]]/v);
        expect(clean.isWellFormed()).toBe(true);
        expect(clean).not.toMatch(/<[a-z/!?]/i);
        expect(clean).not.toMatch(/^\s*(javascript:|vbscript:|data:text\/html)/i);
        expect(clean).not.toMatch(/["'`]\s+on[a-z]*\s*=/i);
        expect(sanitiseText(clean)).toBe(clean);
      }),
      { numRuns: 3_000 },
    );
  });

  test('takes time in proportion to the length, whatever the text', () => {
    const long = 200_000;
    for (const piece of [' ', "' ", "' on", "' on ", '<', '"', '\t', "'\u00a0", 'j\n', '" ona']) {
      const text = `'${piece.repeat(long / piece.length)}`;
      expect(sanitiseText(text).length).toBeGreaterThanOrEqual(text.length);
    }
  });
});

describe('sanitiseObject', () => {
  test('returns the very same object when nothing changes', () => {
    const value = JSON.parse('{"a":[1,{"b":"x < y"}],"c":{"d":null,"e":true},"O\'Neill \\"on\\"":"L\'Oréal"}');
    expect(sanitiseObject(value, 'data')).toEqual({ value });
    expect((sanitiseObject(value, 'data') as { value: object }).value).toBe(value);
  });

  test('copies on the way to a change, shares the rest, and leaves the sent value alone', () => {
    const text = '{"same":{"x":[1]},"list":[{"a":"<b>"},{"b":2}],"k\\u0000":1}';
    const sent = JSON.parse(text);
    const { value } = sanitiseObject(sent, 'data') as { value: Record<string, unknown> };
    expect(value).toEqual({ same: { x: [1] }, list: [{ a: '&lt;b>' }, { b: 2 }], k: 1 });
    expect(value['same']).toBe(sent.same);
    expect((value['list'] as unknown[])[1]).toBe(sent.list[1]);
    expect(JSON.stringify(sent)).toBe(text);
  });

  test('sanitises keys as well, where a script URL is only a name', () => {
    const sent = { '<script>': 1, 'javascript:x': 2, '" onx=': 3, 'a\ud800': 4 };
    expect(sanitiseObject(sent, 'data')).toEqual({
      value: { '&lt;script>': 1, 'javascript:x': 2, '" onx&#61;': 3, 'a\ufffd': 4 },
    });
  });

  test('lets the last of keys that become equal win', () => {
    expect(sanitiseObject({ 'a\0': 1, a: 2 }, 'data')).toEqual({ value: { a: 2 } });
    expect(sanitiseObject({ a: 2, 'a\0': 1 }, 'data')).toEqual({ value: { a: 1 } });
  });

  test.each(['__proto__', 'constructor', 'prototype'])('finds %s behind control characters', (key) => {
    const hidden = `${key.slice(0, 4)}\u0000${key.slice(4)}\u0085`;
    expect(sanitiseObject({ a: [{}, { [hidden]: { x: 1 } }] }, 'data')).toMatchObject({
      problem: { code: 'forbidden_key', field: `data.a[1][${JSON.stringify(hidden)}]` },
    });
  });
});
