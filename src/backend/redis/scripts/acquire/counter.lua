-- The counts of an aligned window and the one before it: `c1`, the window's number, its count, the
-- other's (7 bytes each).

---- read
local capacity$, mark$ = limit$, 0
local index$, current$, previous$ = math.floor(now / window$), 0, 0
local stored$ = redis.call('GET', KEYS[$])
if stored$ then
  if #stored$ == 23 and string.sub(stored$, 1, 2) == 'c1' then
    local index, current, previous = struct.unpack('>I7I7I7', stored$, 3)
    if index == index$ or index == index$ + 1 then
      index$, current$, previous$ = index, current, previous
    elseif index == index$ - 1 then
      previous$ = current
    end
  else
    unreadable = unreadable + 1
  end
end
local elapsed$, ahead$ = now - index$ * window$, 0
if elapsed$ < 0 then elapsed$, ahead$ = 0, -elapsed$ end
local remaining$ = math.floor((limit$ * window$ - current$ * window$ - previous$ * (window$ - elapsed$)) / window$)

---- wait
if units <= limit$ - current$ then
  wait = math.floor((limit$ - current$ - units) * window$ / previous$)
  if wait > window$ - elapsed$ then wait = window$ - elapsed$ end
  wait = (ahead$ + window$ - elapsed$ - wait) * 1000
else
  wait = window$ - math.floor((limit$ - units) * window$ / current$)
  if wait < 0 then wait = 0 end
  wait = (ahead$ + window$ - elapsed$ + wait) * 1000
end

---- take
current$, mark$ = current$ + units, index$
remaining$ = math.floor((limit$ * window$ - current$ * window$ - previous$ * (window$ - elapsed$)) / window$)
lasting = (index$ + 2) * window$ - now
redis.call('SET', KEYS[$], struct.pack('>c2I7I7I7', 'c1', index$, current$, previous$), 'PX', string.format('%.0f', lasting + 1000))
