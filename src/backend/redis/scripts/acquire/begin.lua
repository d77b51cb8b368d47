-- Takes a cost from all limits of one subject, or from none: read all, decide, write. A denial
-- writes nothing but a strike.
--
-- This is put together for the algorithms of a call by src/backend/redis/acquire/source.rs; what
-- ARGV[2] and the reply hold is in mod.rs beside it. A name that ends in $ stands once for each
-- limit. There are no functions and no tables in it, because making them would cost more than all
-- the rest.
--
-- KEYS  a counter for each limit; the subject's strikes, if denials are; then, if limits may have
--       another size for the subject, a size for each
-- ARGV  time in µs or '' for the server's; numbers in bytes
-- Reply numbers in bytes
--
-- src/backend/quotas does the same in Rust, rule for rule. All numbers are integers below 2^53.

local now_us
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now_us = time[1] * 1000000 + time[2]
else
  now_us = tonumber(ARGV[1])
end
local now = math.floor(now_us / 1000)
local unreadable, banned = 0, 0
