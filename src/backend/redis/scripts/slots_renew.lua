-- Holds slots for a lease from now, those of them that are held.
--
-- KEYS  the slots held, a sorted set by deadline in µs
-- ARGV  time in µs or '' for the server's; lease in µs; then the slots
-- Reply for each slot whether it is held, 0 or 1
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

local reply = {}
local some = false
for i = 3, #ARGV do
  local deadline = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or 0)
  -- What lies further ahead is of a clock that stepped back.
  if deadline > now and deadline <= now + 2 * lease then
    redis.call('ZADD', KEYS[1], integer(now + lease), ARGV[i])
    reply[#reply + 1] = 1
    some = true
  else
    reply[#reply + 1] = 0
  end
end
if some then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', integer(now))
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. integer(now + 2 * lease), '+inf')
  redis.call('PEXPIRE', KEYS[1], integer(2 * lease / 1000 + 1000))
end
return reply
