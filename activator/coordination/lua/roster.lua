-- One activator's beat: its record is written and everybody's read in one step, so that a record
-- that stands still was read while its reader's own was taken.
--
-- KEYS  roster  HASH  activator -> record
-- ARGV  'beat', activator, record  or  'drop', activator, the record that it must be or ''

local roster, act = KEYS[1], ARGV[2]
local KEEP_MS = 86400000 -- outlives every activator by a day

if ARGV[1] == 'drop' then
  if ARGV[3] == '' or redis.call('HGET', roster, act) == ARGV[3] then
    return redis.call('HDEL', roster, act)
  end
  return 0
end

-- a first write that needs no memory: after it a full Redis refuses none
redis.call('HDEL', roster, '')
local is_new = redis.call('HSET', roster, act, ARGV[3])
redis.call('PEXPIRE', roster, KEEP_MS)
return {is_new, redis.call('HGETALL', roster)}
