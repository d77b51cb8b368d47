-- Lists members of an index in the order of (deadline, member), from behind a cursor on.
--
-- KEYS  the index, a sorted set by deadline in microseconds
-- ARGV  how many; of the cursor, if there is one: deadline, member
-- Reply {member, deadline, ...}

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- Whether a sorts behind b as a sorted set sorts; Lua's own comparison depends on the locale.
local function behind(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x > y
    end
  end
  return #a > #b
end

local first = redis.call('ZCOUNT', KEYS[1], '-inf', string.format('%.0f', now))
if ARGV[2] then
  -- The cursor's member may be gone: look for its place among those with the same deadline.
  local low = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[2])
  local high = redis.call('ZCOUNT', KEYS[1], '-inf', ARGV[2])
  while low < high do
    local middle = math.floor((low + high) / 2)
    if behind(redis.call('ZRANGE', KEYS[1], middle, middle)[1], ARGV[3]) then
      high = middle
    else
      low = middle + 1
    end
  end
  first = math.max(first, low)
end

local page = redis.call('ZRANGE', KEYS[1], first, first + ARGV[1] - 1, 'WITHSCORES')
for i = 2, #page, 2 do
  page[i] = string.format('%.0f', page[i])
end
return page
