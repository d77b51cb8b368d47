-- Gives a record of this version a new time to live.
--
-- KEYS  the record
-- ARGV  the version's 8 bytes; milliseconds to live
-- Reply how many records it touched

if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then
  return 0
end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
