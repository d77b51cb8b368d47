-- The counts of the parts of a window: `b1`, the number of the newest part (6 bytes), its count and
-- those of the parts before it (4 bytes each). There are buckets$ parts in a window.

---- read
local capacity$, mark$ = limit$, 0
local parts$, width$ = buckets$ + 1, math.ceil(window$ / buckets$)
local index$, used$, live$, newest$, counts$ = math.floor(now / width$), 0, 0, nil, nil
local stored$ = redis.call('GET', KEYS[$])
if stored$ then
  if #stored$ == 8 + 4 * parts$ and string.sub(stored$, 1, 2) == 'b1' then
    -- The number, then the counts.
    local counts = { struct.unpack('>I6' .. string.rep('I4', parts$), stored$, 3) }
    if counts[1] * width$ <= now + window$ then
      newest$, counts$ = counts[1], counts
      if newest$ > index$ then index$ = newest$ end
      live$ = math.max(0, parts$ - (index$ - newest$))
      for part = 2, 1 + live$ do used$ = used$ + counts[part] end
    end
  else
    unreadable = unreadable + 1
  end
end
local remaining$ = limit$ - used$

---- wait
do
  local used, part = used$, 1 + live$
  wait = 0
  while part > 1 do
    used = used - counts$[part]
    if used + units <= limit$ then
      wait = ((newest$ - (part - 2) + parts$) * width$ - now) * 1000
      break
    end
    part = part - 1
  end
end

---- take
do
  local counts, gone = { index$ }, 0
  if live$ > 0 then gone = index$ - newest$ end
  for part = 2, 1 + parts$ do
    local before = part - gone
    counts[part] = before >= 2 and before <= 1 + live$ and counts$[before] or 0
  end
  counts[2] = counts[2] + units
  counts$, newest$, live$, used$, mark$ = counts, index$, parts$, used$ + units, index$
end
remaining$ = limit$ - used$
lasting = (index$ + parts$) * width$ - now
redis.call('SET', KEYS[$], 'b1' .. struct.pack('>I6' .. string.rep('I4', parts$), unpack(counts$)), 'PX', string.format('%.0f', lasting + 1000))
