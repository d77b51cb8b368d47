-- A window and what was taken in it: `f1`, its start, the count (7 bytes each).

---- fresh: where a window begins whose first hit comes now
local start$ = now

---- read
local capacity$, count$, mark$ = limit$, 0, 0
local stored$ = redis.call('GET', KEYS[$])
if stored$ then
  if #stored$ == 16 and string.sub(stored$, 1, 2) == 'f1' then
    local start, count = struct.unpack('>I7I7', stored$, 3)
    if count > 0 and now < start + window$ and start <= now + window$ then
      start$, count$ = start, count
    end
  else
    unreadable = unreadable + 1
  end
end
local remaining$ = limit$ - count$

---- wait
wait = (start$ + window$ - now) * 1000

---- take
count$, mark$ = count$ + units, start$
remaining$ = limit$ - count$
lasting = start$ + window$ - now
redis.call('SET', KEYS[$], struct.pack('>c2I7I7', 'f1', start$, count$), 'PX', string.format('%.0f', lasting + 1000))
