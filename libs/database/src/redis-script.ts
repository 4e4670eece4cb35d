/**
 * The one script of the dedupe window. Ids travel as three packed arguments, joined by line feeds (no id holds a
 * control character but the NUL in its middle): one argument per id costs our side twice as much CPU.
 *
 * A key holds `1` once its event is durable, and `<owner>.<epoch>` while somebody is about to write it.
 */
import { CLAIMED, type ClaimVerdict, DUPLICATE } from './redis-verdict.ts';

export const CLAIM_SCRIPT = `
local prefix, owner, epoch = ARGV[1], ARGV[2], ARGV[3]
local claim_ms, window_ms, expected = ARGV[4], ARGV[5], tonumber(ARGV[6])
local token, count = owner .. epoch, 0

for id in string.gmatch(ARGV[7], '[^\\n]+') do
  redis.call('SET', prefix .. id, '1', 'PX', window_ms)
  count = count + 1
end

for id in string.gmatch(ARGV[8], '[^\\n]+') do
  if redis.pcall('GET', prefix .. id) == token then redis.call('DEL', prefix .. id) end
  count = count + 1
end

local verdicts, lives, at, all_claimed = {}, {}, 0, true
for id in string.gmatch(ARGV[9], '[^\\n]+') do
  local key = prefix .. id
  at = at + 1
  if redis.call('SET', key, token, 'PX', claim_ms, 'NX') then
    verdicts[at] = 'c'
  else
    local value = redis.call('GET', key)
    if value == '1' then
      verdicts[at] = 'd'
      all_claimed = false
    elseif not value or string.sub(value, 1, #owner) == owner then
      redis.call('SET', key, token, 'PX', claim_ms)
      verdicts[at] = 'c'
    else
      local life = redis.call('PTTL', key)
      if life < 0 then return redis.error_reply('WRONGVALUE a key of the dedupe window never expires') end
      verdicts[at] = 'b'
      lives[#lives + 1] = life
      all_claimed = false
    end
  end
end

if count + at ~= expected then return redis.error_reply('WRONGCOUNT ids must not hold line feeds') end
if all_claimed then return '' end
return table.concat(verdicts) .. ' ' .. table.concat(lives, ' ')
`;

export const CLAIM_SCRIPT_SHA = new Bun.CryptoHasher('sha1').update(CLAIM_SCRIPT).digest('hex');

/** A claim that has been open for this long is asked about again no sooner than after this many milliseconds. */
const BUSY_AFTER_MIN_MS = 200;

const DUPLICATE_CODE = 'd'.charCodeAt(0);
const CLAIMED_CODE = 'c'.charCodeAt(0);

/** The verdicts for `count` ids from the script's reply; undefined when it is none. */
export function readVerdicts(reply: unknown, count: number, claimMs: number): ClaimVerdict[] | undefined {
  if (reply === '') return new Array<ClaimVerdict>(count).fill(CLAIMED);
  if (typeof reply !== 'string' || reply.indexOf(' ') !== count) return undefined;
  const lives = reply.slice(count + 1).split(' ');
  let nextLife = 0;
  return Array.from({ length: count }, (_, at) => {
    const code = reply.charCodeAt(at);
    if (code === CLAIMED_CODE) return CLAIMED;
    if (code === DUPLICATE_CODE) return DUPLICATE;
    return { kind: 'busy', afterMs: busyAfterMs(Number(lives[nextLife++]), claimMs) };
  });
}

/**
 * A fresh claim is confirmed within milliseconds, one that has been open for long was probably left by somebody who
 * died: so the wait is what the claim has lived so far, and never more than what is left of it.
 */
function busyAfterMs(lifeMs: number, claimMs: number): number {
  const leftMs = Math.min(Math.max(1, lifeMs), claimMs);
  return Math.min(leftMs, Math.max(BUSY_AFTER_MIN_MS, claimMs - leftMs));
}
