-- Takes a cost from all limits of one subject, or from none: read all, decide, write. A denial writes
-- nothing but a strike.
--
-- KEYS  a counter for each limit; the subject's strikes, if denials are; then, if limits may have another
--       size for the subject, a size for each
-- ARGV  time in µs or '' for the server's; 'all' or 'upto'; cost; number of limits;
--       then for each limit: algorithm (l log, b buckets, g token bucket, c counter, f fixed, a aligned),
--       limit N, window W in ms, what only it has (b buckets, g burst, a offset in ms, else 0), weight;
--       then, if denials are strikes: how many ban, within how many ms, for how many ms
-- Reply admitted 0 or 1; taken; time in µs; states found unreadable; rest of a ban in µs (0 none);
--       then for each limit: N; calls of cost 1 remaining; retry in µs (0 now, -1 never);
--       reset in µs (-1 none); mark
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
local unreadable = 0

local function integer(n)
  return string.format('%.0f', n)
end

-- A string state's two to four numbers; nothing if there is none or it cannot be read.
local function state(key, pattern)
  local stored = redis.call('GET', key)
  if not stored then return nil end
  local a, b, c, d = string.match(stored, pattern)
  if not a then
    unreadable = unreadable + 1
    return nil
  end
  return tonumber(a), tonumber(b), tonumber(c), tonumber(d)
end

-- A time to live until the state's own end, which decides, and a second more; but no longer than it
-- may count after a step back of the clock.
local function ttl(ends, longest)
  return integer(math.min(ends - now, longest) + 1000)
end

-- Whether a ban or the like holds now. It does if it lies ahead by at most its own length, because the
-- clock stepped back.
local function holds(start, ends)
  return now < ends and start <= now + (ends - start)
end

-- Each algorithm: read(limit) brings its counter to the present, remaining(limit), wait(limit, units)
-- in µs for units that do not fit now, take(limit, units).

local fixed = {}

function fixed.read(l)
  local start, count = state(l.key, '^f1:(%d+):(%d+)$')
  if start and count > 0 and now < start + l.window and start <= now + l.window then
    l.start, l.count = start, count
    return
  end
  l.count = 0
  if l.algorithm == 'a' then
    l.start = now - (now - l.extra) % l.window
  else
    l.start = now
  end
end

function fixed.remaining(l)
  return math.max(0, l.limit - l.count)
end

function fixed.wait(l)
  return (l.start + l.window - now) * 1000
end

function fixed.take(l, units)
  l.count, l.mark = l.count + units, l.start
  local value = string.format('f1:%.0f:%.0f', l.start, l.count)
  redis.call('SET', l.key, value, 'PX', ttl(l.start + l.window, 2 * l.window))
end

local counter = {}

function counter.read(l)
  local present = math.floor(now / l.window)
  local index, current, previous = state(l.key, '^c1:(%d+):(%d+):(%d+)$')
  if index == present or index == present + 1 then
    l.index, l.current, l.previous = index, current, previous
  elseif index == present - 1 then
    l.index, l.current, l.previous = present, 0, current
  else
    l.index, l.current, l.previous = present, 0, 0
  end
  local start = l.index * l.window
  l.elapsed, l.ahead = math.max(0, now - start), math.max(0, start - now)
end

function counter.remaining(l)
  local used = l.current * l.window + l.previous * (l.window - l.elapsed)
  return math.floor(math.max(0, l.limit * l.window - used) / l.window)
end

function counter.wait(l, units)
  local left = l.window - l.elapsed
  local room = l.limit - l.current - units
  if room >= 0 then
    local fitting = math.floor(room * l.window / l.previous)
    return (l.ahead + left - math.min(left, fitting)) * 1000
  end
  local fitting = math.floor((l.limit - units) * l.window / l.current)
  return (l.ahead + left + math.max(0, l.window - fitting)) * 1000
end

function counter.take(l, units)
  l.current, l.mark = l.current + units, l.index
  local value = string.format('c1:%.0f:%.0f:%.0f', l.index, l.current, l.previous)
  redis.call('SET', l.key, value, 'PX', ttl((l.index + 2) * l.window, 3 * l.window))
end

-- A list of times, newest first.
local log = {}

local function hit(l, index)
  return tonumber(redis.call('LINDEX', l.key, integer(index)))
end

-- How many of the first hits still count: all, or as many as a binary search finds.
local function live(l, length)
  if hit(l, -1) + l.window > now then return length end
  local low, high = 0, length - 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if hit(l, middle) + l.window > now then low = middle + 1 else high = middle end
  end
  return low
end

function log.read(l)
  l.length, l.newest, l.live = redis.call('LLEN', l.key), 0, 0
  if l.length == 0 then return end
  local newest = hit(l, 0)
  if newest <= now + l.window then
    l.newest, l.live = newest, live(l, l.length)
  end
end

function log.remaining(l)
  return math.max(0, l.limit - l.live)
end

function log.wait(l, units)
  return (hit(l, l.limit - units) + l.window - now) * 1000
end

function log.take(l, units)
  if l.live == 0 then
    redis.call('DEL', l.key)
  elseif l.live < l.length then
    redis.call('LTRIM', l.key, 0, l.live - 1)
  end
  l.mark = math.max(now, l.newest)
  local time, left = integer(l.mark), units
  while left > 0 do
    local chunk = {}
    for i = 1, math.min(left, 1000) do chunk[i] = time end
    redis.call('LPUSH', l.key, unpack(chunk))
    left = left - #chunk
  end
  l.live = l.live + units
  l.newest = l.mark
  redis.call('PEXPIRE', l.key, ttl(l.mark + l.window, 2 * l.window))
end

-- `b1`, the number of the newest part of a window (6 bytes), the counts of it and those before it (4 bytes each).
local buckets = {}

local function layout(parts)
  return '>I6' .. string.rep('I4', parts)
end

function buckets.read(l)
  l.parts, l.width = l.extra + 1, math.ceil(l.window / l.extra)
  local present = math.floor(now / l.width)
  l.index, l.live, l.used = present, 0, 0
  local stored = redis.call('GET', l.key)
  if not stored then return end
  if #stored ~= 8 + 4 * l.parts or string.sub(stored, 1, 2) ~= 'b1' then
    unreadable = unreadable + 1
    return
  end
  -- The number, then the counts.
  local counts = { struct.unpack(layout(l.parts), stored, 3) }
  local newest = counts[1]
  if newest * l.width > now + l.window then return end
  l.newest, l.index = newest, math.max(newest, present)
  l.counts, l.live = counts, math.max(0, l.parts - (l.index - newest))
  for part = 2, 1 + l.live do l.used = l.used + counts[part] end
end

function buckets.remaining(l)
  return math.max(0, l.limit - l.used)
end

function buckets.wait(l, units)
  local used, part = l.used, 1 + l.live
  while part > 1 do
    used = used - l.counts[part]
    if used + units <= l.limit then
      return ((l.newest - (part - 2) + l.parts) * l.width - now) * 1000
    end
    part = part - 1
  end
  return 0
end

function buckets.take(l, units)
  local counts, gone = { l.index }, 0
  if l.live > 0 then gone = l.index - l.newest end
  for part = 2, 1 + l.parts do
    local before = part - gone
    counts[part] = before >= 2 and before <= 1 + l.live and l.counts[before] or 0
  end
  counts[2] = counts[2] + units
  l.counts, l.newest, l.live, l.used, l.mark = counts, l.index, l.parts, l.used + units, l.index
  local value = 'b1' .. struct.pack(layout(l.parts), unpack(counts))
  local lasting = l.parts * l.width
  redis.call('SET', l.key, value, 'PX', ttl(l.index * l.width + lasting, l.window + lasting))
end

-- When the bucket is full, and how long an empty one took to fill when that was written: both in µs.
local token_bucket = {}

function token_bucket.read(l)
  l.capacity = l.extra
  l.interval = math.ceil(l.window * 1000 / math.max(1, l.limit))
  l.filling, l.full_at = l.capacity * l.interval, now_us
  local full_at, filling = state(l.key, '^g1:(%d+):(%d+)$')
  if full_at and full_at > now_us and full_at <= now_us + 2 * filling then l.full_at = full_at end
end

function token_bucket.remaining(l)
  return math.floor(math.max(0, l.filling - (l.full_at - now_us)) / l.interval)
end

function token_bucket.wait(l, units)
  return l.full_at - now_us + units * l.interval - l.filling
end

function token_bucket.take(l, units)
  l.full_at = l.full_at + units * l.interval
  l.mark = l.full_at
  local value = string.format('g1:%.0f:%.0f', l.full_at, l.filling)
  local ends = math.ceil(l.full_at / 1000)
  redis.call('SET', l.key, value, 'PX', ttl(ends, math.ceil(2 * l.filling / 1000)))
end

local algorithms = { f = fixed, a = fixed, c = counter, l = log, b = buckets, g = token_bucket }

local function retry(l, units)
  if units > l.capacity then return -1 end
  if units <= l.remaining then return 0 end
  return l.rules.wait(l, units)
end

local cost, count = tonumber(ARGV[3]), tonumber(ARGV[4])
local last = 4 + 5 * count

-- Strikes count from `start` on, a ban lasts from `start` until `ban_ends`, which else is 0.
local strikes, banned = nil, 0
if ARGV[last + 1] then
  strikes = { key = KEYS[count + 1] }
  strikes.start, strikes.count, strikes.ban_ends = state(strikes.key, '^x1:(%d+):(%d+):(%d+)$')
  if strikes.start and holds(strikes.start, strikes.ban_ends) then
    banned = strikes.ban_ends - now
  end
end

local function strike()
  local after, within = tonumber(ARGV[last + 1]), tonumber(ARGV[last + 2])
  local start, times = now, 1
  if strikes.ban_ends == 0 and holds(strikes.start, strikes.start + within) then
    start, times = strikes.start, strikes.count + 1
  end
  local ban_ends, lives = 0, ttl(start + within, 2 * within)
  if times >= after then
    banned = tonumber(ARGV[last + 3])
    start, ban_ends, lives = now, now + banned, ttl(now + banned, banned)
  end
  local value = string.format('x1:%.0f:%.0f:%.0f', start, times, ban_ends)
  redis.call('SET', strikes.key, value, 'PX', lives)
end

-- Gives a limit the size that it has for this subject.
local function resize(l, key)
  local start, ends, limit, capacity = state(key, '^o1:(%d+):(%d+):(%d+):(%d+)$')
  if not start or not holds(start, ends) then return end
  l.limit = limit
  if l.algorithm == 'g' then l.extra = capacity end
end

local sizes = strikes and count + 1 or count
local fitting = math.huge
local limits = {}
for i = 1, count do
  local at = 5 + 5 * (i - 1)
  local l = {
    key = KEYS[i],
    algorithm = ARGV[at],
    rules = algorithms[ARGV[at]],
    limit = tonumber(ARGV[at + 1]),
    window = tonumber(ARGV[at + 2]),
    extra = tonumber(ARGV[at + 3]),
    weight = tonumber(ARGV[at + 4]),
    mark = 0,
  }
  if KEYS[sizes + i] then resize(l, KEYS[sizes + i]) end
  l.capacity = l.limit
  l.rules.read(l)
  l.remaining = l.rules.remaining(l)
  fitting = math.min(fitting, math.floor(l.remaining / l.weight))
  limits[i] = l
end

local taken = 0
if banned > 0 then
  taken = 0
elseif ARGV[2] == 'upto' then
  taken = math.min(cost, fitting)
elseif cost <= fitting then
  taken = cost
end
local admitted = taken > 0 or cost == 0

local asked = cost
if admitted then
  asked = 0
elseif ARGV[2] == 'upto' then
  asked = 1
elseif strikes and banned == 0 then
  strike()
end

local reply = { admitted and 1 or 0, taken, now_us, unreadable, banned * 1000 }
for _, l in ipairs(limits) do
  if taken > 0 then
    l.rules.take(l, taken * l.weight)
    l.remaining = l.rules.remaining(l)
  end
  local calls = math.floor(l.remaining / l.weight)
  reply[#reply + 1] = l.limit
  reply[#reply + 1] = calls
  reply[#reply + 1] = retry(l, asked * l.weight)
  reply[#reply + 1] = retry(l, (calls + 1) * l.weight)
  reply[#reply + 1] = l.mark
end
return reply
