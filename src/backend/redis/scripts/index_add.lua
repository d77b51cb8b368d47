-- Makes a member of an index, unless it is one for longer.
--
-- KEYS  the index, a sorted set by deadline in microseconds
-- ARGV  member; deadline
-- Reply 1

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if tonumber(ARGV[2]) > now then
  redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
end

-- The index is gone with its last member.
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
if last[2] then
  redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', math.ceil(last[2] / 1000)))
end
return 1
