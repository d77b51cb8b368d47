-- Denials and the ban for them: `x1`, start, count, the ban's end (7 bytes each). Strikes count
-- from the start on, a ban lasts from the start until its end, which else is 0.

---- read
local strikes_start, strikes_count, ban_ends
do
  local stored = redis.call('GET', KEYS[strikes_key])
  if stored then
    if #stored == 23 and string.sub(stored, 1, 2) == 'x1' then
      strikes_start, strikes_count, ban_ends = struct.unpack('>I7I7I7', stored, 3)
      -- A ban holds also where it lies ahead by at most its own length,
      -- because the clock stepped back.
      if now < ban_ends and strikes_start <= now + (ban_ends - strikes_start) then
        banned = ban_ends - now
      end
    else
      unreadable = unreadable + 1
    end
  end
end

---- strike
if denied and banned == 0 then
  local start, count, ends = now, 1, 0
  if ban_ends == 0 and now < strikes_start + within and strikes_start <= now + within then
    start, count = strikes_start, strikes_count + 1
  end
  lasting = start + within - now
  if count >= after then
    banned, start, ends, lasting = ban_lasting, now, now + ban_lasting, ban_lasting
  end
  redis.call('SET', KEYS[strikes_key], struct.pack('>c2I7I7I7', 'x1', start, count, ends), 'PX', string.format('%.0f', lasting + 1000))
end
