-- Gives back what acquire.lua took, where it still counts. It makes no key and moves no deadline.
--
-- KEYS  a counter for each limit
-- ARGV  time in µs or '' for the server's; taken;
--       then for each limit: algorithm, what a cost of one counts (units; g: µs), mark
-- Reply 0

local function integer(n)
  return string.format('%.0f', n)
end

local function keep(key, value)
  redis.call('SET', key, value, 'KEEPTTL')
end

local function now_us()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local refund = {}

function refund.f(key, units, mark)
  local stored = redis.call('GET', key) or ''
  local start, count = string.match(stored, '^f1:(%d+):(%d+)$')
  if start == mark then
    keep(key, 'f1:' .. start .. ':' .. integer(math.max(0, tonumber(count) - units)))
  end
end

refund.a = refund.f

function refund.c(key, units, mark)
  local stored = redis.call('GET', key) or ''
  local index, current, previous = string.match(stored, '^c1:(%d+):(%d+):(%d+)$')
  if index == mark then
    current = integer(math.max(0, tonumber(current) - units))
  elseif index and tonumber(index) == tonumber(mark) + 1 then
    previous = integer(math.max(0, tonumber(previous) - units))
  else
    return
  end
  keep(key, 'c1:' .. index .. ':' .. current .. ':' .. previous)
end

function refund.l(key, units, mark)
  -- LREM takes 0 to mean all.
  if units > 0 then redis.call('LREM', key, integer(units), mark) end
end

function refund.b(key, units, mark)
  local stored = redis.call('GET', key) or ''
  if #stored < 12 or string.sub(stored, 1, 2) ~= 'b1' then return end
  local age = struct.unpack('>I6', stored, 3) - tonumber(mark)
  local at = 9 + 4 * age
  if age < 0 or at + 3 > #stored then return end
  local count = math.max(0, struct.unpack('>I4', stored, at) - units)
  keep(key, string.sub(stored, 1, at - 1) .. struct.pack('>I4', count) .. string.sub(stored, at + 4))
end

function refund.g(key, micros, mark)
  local stored = redis.call('GET', key) or ''
  local full_at, filling = string.match(stored, '^g1:(%d+):(%d+)$')
  if not full_at then return end
  local now = now_us()
  full_at = tonumber(full_at)
  if full_at <= now or full_at > now + 2 * tonumber(filling) then return end
  local given_back = math.min(micros, math.max(0, tonumber(mark) - now))
  full_at = full_at - given_back
  -- A full bucket is as if nothing had been taken, wherever the clock steps.
  if full_at <= now then full_at = 0 end
  keep(key, string.format('g1:%.0f:%s', full_at, filling))
end

local taken = tonumber(ARGV[2])
for i, key in ipairs(KEYS) do
  local at = 3 + 3 * (i - 1)
  refund[ARGV[at]](key, taken * tonumber(ARGV[at + 1]), ARGV[at + 2])
end
return 0
