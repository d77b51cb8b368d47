-- Removes a record of this version.
--
-- KEYS  the record
-- ARGV  the version's 8 bytes
-- Reply how many records it removed

if redis.call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
