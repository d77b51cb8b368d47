-- Gives back what acquire.lua took, where it still counts. It makes no key and moves no deadline.
--
-- KEYS  a counter for each limit
-- ARGV  taken; then for each limit: algorithm, weight, mark
-- Reply 0

local function integer(n)
  return string.format('%.0f', n)
end

local function keep(key, value)
  redis.call('SET', key, value, 'KEEPTTL')
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

local taken = tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local at = 2 + 3 * (i - 1)
  refund[ARGV[at]](key, taken * tonumber(ARGV[at + 1]), ARGV[at + 2])
end
return 0
