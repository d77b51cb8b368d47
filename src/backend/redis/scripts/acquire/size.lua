-- The size of a limit for this subject: `o1`, start, end, limit, most that a call
-- may cost (7 bytes each).

---- read
local size$ = redis.call('GET', KEYS[size_key])
if size$ then
  if #size$ == 30 and string.sub(size$, 1, 2) == 'o1' then
    local start, ends, limit, capacity = struct.unpack('>I7I7I7I7', size$, 3)
    -- It holds also where it lies ahead by at most its own length, because the clock stepped back.
    if now < ends and start <= now + (ends - start) then
      limit$ = limit
---- burst: of a token bucket
      burst$ = capacity
---- end
    end
  else
    unreadable = unreadable + 1
  end
end
