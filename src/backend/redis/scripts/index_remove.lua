-- Removes a member of an index.
--
-- KEYS  the index, a sorted set by deadline in microseconds
-- ARGV  member
-- Reply 1 if it was a member, else 0

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
local removed = redis.call('ZREM', KEYS[1], ARGV[1])

-- The index is gone with its last member.
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.ceil(last[2] / 1000)))
end
return removed
