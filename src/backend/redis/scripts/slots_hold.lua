-- Holds a slot for a lease, unless as many as the limit are held.
--
-- KEYS  the slots held, a sorted set by deadline in µs
-- ARGV  time in µs or '' for the server's; lease in µs; limit; slot
-- Reply held 0 or 1; how many are held
--
-- src/backend/memory/slots.rs does the same in Rust, rule for rule.

local now
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
else
  now = tonumber(ARGV[1])
end
local lease = tonumber(ARGV[2])

local function integer(n)
  return string.format('%.0f', n)
end

-- What lies further ahead is of a clock that stepped back.
local over, latest = integer(now), integer(now + 2 * lease)
local in_use = redis.call('ZCOUNT', KEYS[1], '(' .. over, latest)
local deadline = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[4]) or 0)
local is_held = deadline > now and deadline <= now + 2 * lease

if not is_held then
  if in_use >= tonumber(ARGV[3]) then
    return { 0, in_use }
  end
  in_use = in_use + 1
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', over)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. latest, '+inf')
redis.call('ZADD', KEYS[1], integer(now + lease), ARGV[4])
-- As long as any slot may count, and a second more.
redis.call('PEXPIRE', KEYS[1], integer(2 * lease / 1000 + 1000))
return { 1, in_use }
