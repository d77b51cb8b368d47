-- The times of the hits in ms, newest first: a list. It counts as empty if its
-- first or last item is none.

---- read
local capacity$, mark$ = limit$, 0
local length$, newest$, live$ = redis.call('LLEN', KEYS[$]), 0, 0
if length$ > 0 then
  local newest = tonumber(redis.call('LINDEX', KEYS[$], 0))
  local oldest = tonumber(redis.call('LINDEX', KEYS[$], -1))
  if not newest or not oldest then
    unreadable = unreadable + 1
  elseif newest <= now + window$ then
    newest$, live$ = newest, length$
    -- How many of the first hits still count: all, or as many as a binary search
    -- finds. What is no time is old.
    if oldest + window$ <= now then
      local low, high = 0, length$ - 1
      while low < high do
        local middle = math.floor((low + high) / 2)
        local hit = tonumber(redis.call('LINDEX', KEYS[$], string.format('%.0f', middle))) or 0
        if hit + window$ > now then low = middle + 1 else high = middle end
      end
      live$ = low
    end
  end
end
local remaining$ = limit$ - live$

---- wait
wait = ((tonumber(redis.call('LINDEX', KEYS[$], string.format('%.0f', limit$ - units))) or now) + window$ - now) * 1000

---- take
if live$ == 0 then
  if length$ > 0 then redis.call('DEL', KEYS[$]) end
elseif live$ < length$ then
  redis.call('LTRIM', KEYS[$], 0, string.format('%.0f', live$ - 1))
end
mark$ = now
if newest$ > now then mark$ = newest$ end
live$ = live$ + units
remaining$ = limit$ - live$
local time$ = string.format('%.0f', mark$)
while units > 1 do
  local chunk = {}
  for i = 1, math.min(units, 1000) do chunk[i] = time$ end
  redis.call('LPUSH', KEYS[$], unpack(chunk))
  units = units - #chunk
end
if units == 1 then redis.call('LPUSH', KEYS[$], time$) end
lasting = mark$ + window$ - now
redis.call('PEXPIRE', KEYS[$], string.format('%.0f', lasting + 1000))
