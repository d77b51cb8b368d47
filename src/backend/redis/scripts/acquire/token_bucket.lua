-- When the bucket is full, and how long an empty one took to fill when that was written: `g1`, both
-- in µs (7 bytes each).

---- read
local capacity$, mark$ = burst$, 0
local interval$ = window$ * 1000
if limit$ > 1 then interval$ = math.ceil(interval$ / limit$) end
local filling$, full_at$ = capacity$ * interval$, now_us
local stored$ = redis.call('GET', KEYS[$])
if stored$ then
  if #stored$ == 16 and string.sub(stored$, 1, 2) == 'g1' then
    local full_at, filling = struct.unpack('>I7I7', stored$, 3)
    if full_at > now_us and full_at <= now_us + 2 * filling then full_at$ = full_at end
  else
    unreadable = unreadable + 1
  end
end
local remaining$ = math.floor((filling$ - full_at$ + now_us) / interval$)

---- wait
wait = full_at$ - now_us + units * interval$ - filling$

---- take
full_at$ = full_at$ + units * interval$
mark$ = full_at$
remaining$ = math.floor((filling$ - full_at$ + now_us) / interval$)
lasting = math.ceil(full_at$ / 1000) - now
redis.call('SET', KEYS[$], struct.pack('>c2I7I7', 'g1', full_at$, filling$), 'PX', string.format('%.0f', lasting + 1000))
