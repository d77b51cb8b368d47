-- Gives back what was taken, where it still counts. It makes no key and moves no deadline.
--
-- KEYS  a counter for each limit
-- ARGV  time in µs or '' for the server's; taken;
--       then for each limit: algorithm (l log, b buckets, g token bucket, c counter, f fixed,
--       a aligned), what a cost of one counts (units; g: µs), mark
-- Reply 0
--
-- What a counter holds is in acquire/, in the algorithm's file.

local function integer(n)
  return string.format('%.0f', n)
end

local function keep(key, value)
  redis.call('SET', key, value, 'KEEPTTL')
end

-- A state of this format and length; nothing if there is none, or it cannot be read.
local function stored(key, format, length)
  local state = redis.call('GET', key)
  if state and #state >= length and string.sub(state, 1, 2) == format then return state end
end

local function now_us()
  if ARGV[1] ~= '' then return tonumber(ARGV[1]) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local refund = {}

function refund.f(key, units, mark)
  local state = stored(key, 'f1', 16)
  if not state then return end
  local start, count = struct.unpack('>I7I7', state, 3)
  if start == mark then
    keep(key, struct.pack('>c2I7I7', 'f1', start, math.max(0, count - units)))
  end
end

refund.a = refund.f

function refund.c(key, units, mark)
  local state = stored(key, 'c1', 23)
  if not state then return end
  local index, current, previous = struct.unpack('>I7I7I7', state, 3)
  if index == mark then
    current = math.max(0, current - units)
  elseif index == mark + 1 then
    previous = math.max(0, previous - units)
  else
    return
  end
  keep(key, struct.pack('>c2I7I7I7', 'c1', index, current, previous))
end

function refund.l(key, units, mark)
  -- LREM takes 0 to mean all.
  if units > 0 then redis.call('LREM', key, integer(units), integer(mark)) end
end

function refund.b(key, units, mark)
  local state = stored(key, 'b1', 12)
  if not state then return end
  local age = struct.unpack('>I6', state, 3) - mark
  local at = 9 + 4 * age
  if age < 0 or at + 3 > #state then return end
  local count = math.max(0, struct.unpack('>I4', state, at) - units)
  keep(key, string.sub(state, 1, at - 1) .. struct.pack('>I4', count) .. string.sub(state, at + 4))
end

function refund.g(key, micros, mark)
  local state = stored(key, 'g1', 16)
  if not state then return end
  local full_at, filling = struct.unpack('>I7I7', state, 3)
  local now = now_us()
  if full_at <= now or full_at > now + 2 * filling then return end
  local given_back = math.min(micros, math.max(0, mark - now))
  full_at = full_at - given_back
  -- A full bucket is as if nothing had been taken, wherever the clock steps.
  if full_at <= now then full_at = 0 end
  keep(key, struct.pack('>c2I7I7', 'g1', full_at, filling))
end

local taken = tonumber(ARGV[2])
for i, key in ipairs(KEYS) do
  local at = 3 + 3 * (i - 1)
  refund[ARGV[at]](key, taken * tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]))
end
return 0
