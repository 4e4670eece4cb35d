/**
 * The one script of the dedupe window. Ids travel as three packed arguments, joined by line feeds (no id holds a
 * control character but the NUL in its middle): one argument per id costs our side twice as much CPU.
 *
 * A key holds a number once its event is durable, and `<owner>.<epoch>` while somebody is about to write it. The number is
 * the tag of a journal that holds the event; the key `@<tag>` says not beyond which sequence number. That is one key for a
 * journal: a position with every id would cost 40 bytes each, an integer costs 16. Both are set in one step; the latter
 * only moves forwards, and lives at least as long (Redis' clock goes on during a script, so its time is set once more at the end).
 */
import { CLAIMED, type ClaimVerdict, DUPLICATE } from './redis-verdict.ts';

export const CLAIM_SCRIPT = `
local prefix, owner, epoch = ARGV[1], ARGV[2], ARGV[3]
local claim_ms, window_ms, expected = ARGV[4], ARGV[5], tonumber(ARGV[6])
local tag, through = ARGV[7], ARGV[8]
local token, own_place, count = owner .. epoch, prefix .. '@' .. tag, 0

if through ~= '' then
  local known = redis.pcall('GET', own_place)
  if type(known) == 'string' and tonumber(known) and tonumber(known) > tonumber(through) then through = known end
  redis.call('SET', own_place, through, 'PX', window_ms)
end
for id in string.gmatch(ARGV[9], '[^\\n]+') do
  redis.call('SET', prefix .. id, tag, 'PX', window_ms)
  count = count + 1
end
if through ~= '' then redis.call('PEXPIRE', own_place, window_ms) end

for id in string.gmatch(ARGV[10], '[^\\n]+') do
  if redis.pcall('GET', prefix .. id) == token then redis.call('DEL', prefix .. id) end
  count = count + 1
end

local verdicts, details, at, all_claimed, last_tag = {}, {}, 0, true, ''
for id in string.gmatch(ARGV[11], '[^\\n]+') do
  local key = prefix .. id
  at = at + 1
  if redis.call('SET', key, token, 'PX', claim_ms, 'NX') then
    verdicts[at] = 'c'
  else
    local value = redis.call('GET', key)
    if value and string.find(value, '^%d+$') then
      verdicts[at] = 'd'
      all_claimed = false
      local detail = ''
      if value ~= last_tag then
        local place = redis.pcall('GET', prefix .. '@' .. value)
        detail = value .. ':' .. (type(place) == 'string' and place or '')
        last_tag = value
      end
      details[#details + 1] = detail
    elseif not value or string.sub(value, 1, #owner) == owner then
      redis.call('SET', key, token, 'PX', claim_ms)
      verdicts[at] = 'c'
    else
      local life = redis.call('PTTL', key)
      if life < 0 then return redis.error_reply('WRONGVALUE a key of the dedupe window never expires') end
      verdicts[at] = 'b'
      details[#details + 1] = life
      all_claimed = false
    end
  end
end

if count + at ~= expected then return redis.error_reply('WRONGCOUNT ids must not hold line feeds') end
if all_claimed then return '' end
return table.concat(verdicts) .. ' ' .. table.concat(details, ' ')
`;

export const CLAIM_SCRIPT_SHA = new Bun.CryptoHasher('sha1').update(CLAIM_SCRIPT).digest('hex');

/** A claim that has been open for this long is asked about again no sooner than after this many milliseconds. */
const BUSY_AFTER_MIN_MS = 200;

const DUPLICATE_CODE = 'd'.charCodeAt(0);
const CLAIMED_CODE = 'c'.charCodeAt(0);

/**
 * The verdicts for `count` ids from the script's reply; undefined when it is none. Behind the letters stands a word for each
 * that is not claimed: how many milliseconds somebody's claim still lives, or `<tag>:<seq>` of a duplicate, empty when it
 * is that of the duplicate before.
 */
export function readVerdicts(reply: unknown, count: number, claimMs: number): ClaimVerdict[] | undefined {
  if (reply === '') return new Array<ClaimVerdict>(count).fill(CLAIMED);
  if (typeof reply !== 'string' || reply.indexOf(' ') !== count) return undefined;
  const details = reply.slice(count + 1).split(' ');
  let next = 0;
  let duplicate = DUPLICATE;
  return Array.from({ length: count }, (_, at) => {
    const code = reply.charCodeAt(at);
    if (code === CLAIMED_CODE) return CLAIMED;
    const detail = details[next++] ?? '';
    if (code !== DUPLICATE_CODE) return { kind: 'busy', afterMs: busyAfterMs(Number(detail), claimMs) };
    if (detail !== '') duplicate = duplicateAt(detail);
    return duplicate;
  });
}

function duplicateAt(detail: string): ClaimVerdict {
  const [journalTag = '', through = ''] = detail.split(':');
  const throughSeq = Number(through);
  if (through === '' || !Number.isSafeInteger(throughSeq)) return DUPLICATE;
  return { kind: 'duplicate', copy: { journalTag, throughSeq } };
}

/**
 * A fresh claim is confirmed within milliseconds, one that has been open for long was probably left by somebody who
 * died: so the wait is what the claim has lived so far, and never more than what is left of it.
 */
function busyAfterMs(lifeMs: number, claimMs: number): number {
  const leftMs = Math.min(Math.max(1, lifeMs), claimMs);
  return Math.min(leftMs, Math.max(BUSY_AFTER_MIN_MS, claimMs - leftMs));
}
