-- Writes a record if the precondition holds.
--
-- KEYS  the record
-- ARGV  value; milliseconds to live; precondition ('any', 'absent', or 'v' and a version's 8 bytes)
-- Reply the new version, or {now, value, milliseconds left} of what is there instead

local wanted = ARGV[3]
local current, held
if wanted == 'absent' then
  -- Whatever is there is the reply, so it is read at once.
  current = redis.call('GET', KEYS[1])
  held = current and string.sub(current, 1, 8) or ''
else
  held = redis.call('GETRANGE', KEYS[1], 0, 7)
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local holds = wanted == 'any'
  or (wanted == 'absent' and held == '')
  or (#held == 8 and wanted == 'v' .. held)
if not holds then
  return {now, current or redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}
end

local version = now
if #held == 8 then
  local after = struct.unpack('>I8', held) + 1
  -- Doubles count up to 2^53, which microseconds since 1970 reach in the year 2255.
  if after >= 9007199254740992 then
    return redis.error_reply('CORRUPT the version is beyond 2^53')
  end
  if after > version then
    version = after
  end
end

redis.call('SET', KEYS[1], struct.pack('>I8', version) .. ARGV[1], 'PX', ARGV[2])
return version
