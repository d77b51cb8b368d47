-- Bans a subject, or gives one of its limits another size, for some time from now on.
--
-- KEYS  the subject's strikes, or the limit's size
-- ARGV  time in µs or '' for the server's; how long in ms;
--       then of a ban: how many strikes ban; of a size: limit, most that a call may cost
-- Reply 0

local now_us = tonumber(ARGV[1])
if not now_us then
  local time = redis.call('TIME')
  now_us = time[1] * 1000000 + time[2]
end
local now, lasting = math.floor(now_us / 1000), tonumber(ARGV[2])

local value
if ARGV[4] then
  local limit, capacity = tonumber(ARGV[3]), tonumber(ARGV[4])
  value = struct.pack('>c2I7I7I7I7', 'o1', now, now + lasting, limit, capacity)
else
  value = struct.pack('>c2I7I7I7', 'x1', now, tonumber(ARGV[3]), now + lasting)
end
-- Its own end decides; the key goes a second later.
redis.call('SET', KEYS[1], value, 'PX', string.format('%.0f', lasting + 1000))
return 0
